"""Commands for existing runs: status, watch, ledger, curves, list, finish and stop."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from search.commands.options import RUNS, Address, Dashboard, ForceCode, Output, Overrides, Plain, Root, RunName
from search.runs.run_folder import SPACE
from trainable.errors import UserError
from trainable.exit_codes import INTERRUPTED
from trainable.printing import Format, plural, print_csv, print_json, print_table, say


def status(run: RunName, root: Root = RUNS, output: Output = Format.table) -> None:
    """Show the state of a run, even if it crashed.

    Example: python -m search status quickstart --format json
    """
    from search.run_storage.find_runs import find_run
    from search.runs.status import status_of
    from search.terminal.listing import COLUMNS, document, rows, summary

    found = find_run(run, root)
    now = status_of(found)
    if output is Format.json:
        print_json(document(now))
    elif output is Format.csv:
        print_csv(rows(now), COLUMNS)
    else:
        print_table(rows(now), f"{found.address}: {summary(now)}")


def watch(
    run: RunName,
    root: Root = RUNS,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two updates.")] = 1.0,
    plain: Plain = False,
    once: Annotated[bool, typer.Option("--once", help="Print the current view and exit.")] = False,
) -> None:
    """Watch a run live, from any terminal.

    Ctrl-C ends the view, not the run. Without a terminal, prints the view once, or with --plain one line per event
    until the run ends.

    Example: python -m search watch quickstart
    """
    from search.run_storage.find_runs import find_run
    from search.terminal.watch import watch as watch_run

    raise typer.Exit(watch_run(find_run(run, root), interval, plain, once, sys.argv[1:]))


def ledger(run: RunName, root: Root = RUNS, output: Output = Format.table) -> None:
    """Show how the workers of a run spent their time.

    Shows results by state, losses to faults and overhead in seconds, for the run and each config; csv and json list
    each fold trial.

    Example: python -m search ledger quickstart
    """
    from search.run_storage.find_runs import find_run
    from search.runs.ledger import ledger as compute_ledger
    from search.terminal import ledger_table

    found = find_run(run, root)
    computed = compute_ledger(found.lines(), time.time() if found.driven else None)
    if output is Format.json:
        print_json(ledger_table.document(computed))
    elif output is Format.csv:
        print_csv(ledger_table.rows(computed), ledger_table.COLUMNS)
    else:
        print_table(ledger_table.table(computed), f"{found.address}: {ledger_table.summary(computed)}")


def curves(
    run: RunName, out: Annotated[Path, typer.Option(help="The table to write, .parquet or .csv.")], root: Root = RUNS
) -> None:
    """Write the learning curves of a run to a table.

    Its columns are config, fold, step, score, seconds and the parameters.

    Example: python -m search curves quickstart --out curves.parquet
    """
    from search.replay.run_curves import curve_table, write_table
    from search.run_storage.find_runs import find_run

    table = curve_table(find_run(run, root).lines())
    write_table(table, out)
    configs = plural(table["config"].nunique(), "config")
    say(f"{out}: {plural(len(table), 'report')} of {configs}; next: python -m search replay {out}")


def list_runs(root: Root = RUNS, output: Output = Format.table) -> None:
    """List all runs with their state.

    Example: python -m search list --runs runs
    """
    from search.run_storage.find_runs import all_runs
    from search.terminal.listing import COUNTS, overview, unreadable

    rows = []
    for run in all_runs(root):
        try:
            run.refresh()
            rows.append(overview(run))
        except UserError as problem:  # of one run, such as a plugin that is not allowed here
            rows.append(unreadable(run, problem))
    if output is Format.json:
        print_json(rows)
    elif output is Format.csv:
        print_csv(rows, COUNTS)
    elif rows:
        print_table(rows)
    else:
        say(f"{root}: contains no runs yet; start one with python -m search launch quickstart")


def finish(
    run: RunName,
    config: Annotated[str, typer.Option("--config", help="The config to finish, by the start of its id.")],
    root: Root = RUNS,
    assignments: Overrides = None,
    force_code: ForceCode = False,
    address: Address = None,
    plain: Plain = False,
    dashboard: Dashboard = True,
) -> None:
    """Train the missing folds and models of one config.

    Folds may be missing because the search did not train them, models because they were lost or removed.

    The budget of the run does not limit this, and the config keeps its weights from then on. --set changes what may
    differ between launches, such as data or resources.

    Example: python -m search finish quickstart --config 3f
    """
    from search.run_storage.find_runs import find_run
    from search.terminal.plain_view import print_finished, print_resume_command
    from search.terminal.watch import show_run
    from spaces.load import load_space

    found = find_run(run, root)
    named = [found.named, *(assignments or [])]
    space = load_space(found.folder / SPACE, named)
    from search.commands.launch import launch_space  # late: slow to import
    from search.commands.launch_checks import LaunchOptions
    from search.planning.plan import PlanOptions

    options = LaunchOptions(
        found.root,
        force_code,
        rebuild=False,
        plan=PlanOptions(),
        address=address or None,
        dashboard=dashboard,
        show=partial(show_run, plain=plain),
        finish=config,
    )
    try:
        launched, policy, outcome = launch_space(space, options)
    except KeyboardInterrupt:
        print_resume_command(sys.argv[1:])
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(print_finished(launched, policy, outcome, config, sys.argv[1:]))


def stop(run: RunName, root: Root = RUNS) -> None:
    """Stop a run gracefully; launching it again resumes it.

    Example: python -m search stop quickstart
    """
    from search.run_storage.find_runs import find_run

    found = find_run(run, root)
    if not found.driven:
        raise UserError(f"{found.address}: this run is not running, so there is nothing to stop")
    found.request_stop()
    say(f"{found.address}: stopping after the current reports")
