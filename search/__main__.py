"""``python -m search``: the command line of the search."""

import shlex
import sys
from functools import partial
from typing import Annotated

import typer

from search.commands.doctor_report import doctor_report
from search.commands.live_page import live_page
from search.commands.options import (
    RUNS,
    Address,
    Calibrate,
    Dashboard,
    ForceCode,
    Output,
    Overrides,
    Plain,
    Root,
    SpaceName,
    StepSeconds,
)
from search.commands.replay import replay
from search.commands.run_commands import curves, finish, ledger, list_runs, status, stop, watch
from search.commands.submit import submit
from trainable.errors import UserError
from trainable.exit_codes import INTERRUPTED, Completion, Version
from trainable.exit_codes import run as run_program
from trainable.printing import Format, print_csv, print_json, say, talk

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def search(version: Version = False, completion: Completion = False) -> None:
    """Plan, run, watch and replay hyperparameter searches."""


def plan(
    space: SpaceName,
    assignments: Overrides = None,
    step_seconds: StepSeconds = None,
    calibrate: Calibrate = False,
    slots: Annotated[
        int | None, typer.Option("--slots", help="Plan for other machines, which train this many fold trials at once.")
    ] = None,
    output: Output = Format.table,
) -> None:
    """Estimate the cost of a space; starts nothing.

    The cost is that of the full grid, and as expected under the scheduler of the space.

    JSON keys: configs, folds, trials and steps of the full grid; gpu_hours, wall_hours and cost, each with grid,
    expected, low and high (the extremes over the simulated worlds in which the scheduler is rehearsed; cost is null
    without budget.cost_per_gpu_hour); slots; step_seconds and its source: stated, measured here, remembered or
    assumed; ended_by: the number of worlds in which each budget ends the run; disk: the bytes that the run takes at
    most, and those of the fold models of the largest config, null if fold trials leave no weights.

    Example: python -m search plan full_grid --set budget.gpu_hours=5 --step-seconds 0.03 --slots 8
    """
    from search.planning.plan import PlanOptions, check_cores, make_plan
    from search.planning.plan_output import COLUMNS, document, lines, missing_data, rows
    from spaces.load import load_space

    loaded = load_space(space, assignments or [])
    if slots is None:
        check_cores(loaded.settings.resources)
    made = make_plan(loaded, PlanOptions(step_seconds, calibrate, slots))
    if output is Format.json:
        print_json(document(made))
    elif output is Format.csv:
        print_csv(rows(made), COLUMNS)
    else:
        for label, text in lines(made):
            print(f"{label:<12}{text}")
    if slots is None and (missing := missing_data(loaded)):
        raise UserError(missing)
    overrides = [argument for assignment in assignments or [] for argument in ("--set", assignment)]
    say(f"\nNext: python -m search launch {shlex.join([space, *overrides])}")


def launch(
    space: SpaceName,
    assignments: Overrides = None,
    root: Root = RUNS,
    step_seconds: StepSeconds = None,
    calibrate: Calibrate = False,
    force_code: ForceCode = False,
    recover: Annotated[
        bool, typer.Option("--recover", help="Rebuild a damaged journal from the fold folders.")
    ] = False,
    address: Address = None,
    plain: Plain = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before a run that is expected to take days on this machine.")
    ] = False,
    dashboard: Dashboard = True,
    serve: Annotated[bool, typer.Option("--serve", help="Also serve the live page, and print its address.")] = False,
) -> None:
    """Run a space to completion, or resume its run.

    Example: python -m search launch quickstart
    """
    from search.run_storage.find_runs import refuse_run
    from search.terminal.plain_view import print_outcome, print_resume_command
    from search.terminal.watch import show_run
    from spaces.load import load_space

    refuse_run(space, root)
    loaded = load_space(space, assignments or [])
    from search.commands.launch import launch_space  # late: errors in the space are reported first
    from search.commands.launch_checks import LaunchOptions
    from search.planning.plan import PlanOptions

    options = LaunchOptions(
        root,
        force_code,
        rebuild=recover,
        plan=PlanOptions(step_seconds, calibrate),
        address=address or None,
        dashboard=dashboard,
        show=partial(show_run, plain=plain),
        confirm=partial(_confirm, asks=sys.stdin.isatty() and talk.is_terminal and not yes),
    )
    try:
        with live_page(root, serve):
            run, policy, outcome = launch_space(loaded, options)
    except KeyboardInterrupt:  # the second one, or one before the first job
        print_resume_command(sys.argv[1:])
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(print_outcome(run, policy, outcome, sys.argv[1:]))


def _confirm(warning: str, asks: bool) -> None:
    """Show the warning, and on a terminal ask whether to continue."""
    say(f"warning: {warning}")
    if asks and not typer.confirm("Launch anyway?", err=True):
        say("not launched")
        raise typer.Exit(INTERRUPTED)


for command in (plan, launch, submit, status, watch, stop, list_runs, finish, ledger, curves, replay, doctor_report):
    app.command("list" if command is list_runs else None)(command)


if __name__ == "__main__":
    run_program(app)
