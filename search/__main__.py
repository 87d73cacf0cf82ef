"""``python -m search``: the command line of the search."""

from __future__ import annotations

import os
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from search.compare import Outcome, Source, compare, mean_of
from search.schedulers import SCHEDULERS, scheduler
from search.submit import submit
from search.tables import find_tables, read_table
from search.worlds import RECIPES, generated
from trainable.commands import INTERRUPTED
from trainable.commands import run as run_program
from trainable.errors import UserError, did_you_mean
from trainable.printing import Format, print_csv, print_json, print_table, say, talk

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def search() -> None:
    """Decide what to train next, and what to stop."""


Root = Annotated[str, typer.Option("--runs", help="The folder that holds all runs, or s3://bucket/prefix.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, its name, or its s3:// URL.")]
Output = Annotated[Format, typer.Option("--format", help="How to print.")]
Plain = Annotated[bool, typer.Option("--plain", help="A line per event instead of the live view.")]
RUNS = "runs"
SpaceName = Annotated[str, typer.Argument(metavar="SPACE", help="A space file, or the name of a shipped one.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override any key of the space.")
]
StepSeconds = Annotated[
    float | None, typer.Option("--step-seconds", help="Seconds that a step of the space's largest config takes.")
]
Calibrate = Annotated[
    bool, typer.Option("--calibrate", help="Measure steps on this machine for the plan, and remember them.")
]


@app.command()
def replay(
    tables: Annotated[
        list[str] | None,
        typer.Argument(help="Runs, recorded curves (.parquet, .csv), or folders of either.", metavar="RUN|TABLE..."),
    ] = None,
    schedulers: Annotated[
        list[str] | None, typer.Option("--scheduler", help="May be given several times; all four by default.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Fold trials that train at once.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the worlds, and of the orders that repeats take.")] = 0,
    repeats: Annotated[
        int, typer.Option(min=1, help="Runs of each table, with configs and folds in another order.")
    ] = 1,
    worlds: Annotated[
        str | None, typer.Option(help=f"Generated worlds instead of tables: {', '.join(RECIPES)}.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many worlds to generate.")] = 200,
    processes: Annotated[int, typer.Option(min=0, help="Processes to use; 0 is one for each core.")] = 0,
    root: Root = RUNS,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.table,  # noqa: A002
) -> None:
    """What schedulers would have cost on recorded curves, and what they would have picked.

    A table has the columns config, fold, step, score and seconds (cumulative within a fold trial); further
    columns are parameters of the config. Of a run that was pruned, only the configs with all folds are replayed.
    Cost is the share of the full grid's GPU-seconds; wall is in seconds.

    Example: python -m search replay quickstart
    """
    sources = _sources(tables or [], worlds, count, seed, root)
    names = list(dict.fromkeys(schedulers or SCHEDULERS))
    for name in names:
        scheduler(name)
    processes = min(processes or os.cpu_count() or 1, len(sources))
    found: dict[str, list[Outcome]] = {name: [] for name in names}
    with Progress(console=talk, disable=not talk.is_terminal, transient=True) as progress:
        bar = progress.add_task("replaying", total=len(sources))
        for part in compare(sources, names, workers, seed, repeats, processes):
            progress.advance(bar)
            for name in names:
                found[name] += part[name]
    rows = [mean_of(name, found[name]) for name in names]
    if format is Format.json:
        print_json(rows)
    elif format is Format.csv:
        print_csv(rows)
    else:
        print_table(rows, f"{len(found[names[0]])} replays with {workers} workers")


def _sources(tables: list[str], worlds: str | None, count: int, seed: int, root: str) -> list[Source]:
    if bool(tables) == bool(worlds):
        raise UserError("replay needs either tables or --worlds")
    if worlds is None:
        return [partial(read_table, path) for path in find_tables(tables, root)]
    if worlds not in RECIPES:
        raise UserError(f"--worlds {worlds!r} is unknown.{did_you_mean(worlds, RECIPES)} Known: {', '.join(RECIPES)}.")
    return [partial(generated, RECIPES[worlds], seed + number) for number in range(count)]


@app.command()
def plan(
    space: SpaceName,
    assignments: Overrides = None,
    step_seconds: StepSeconds = None,
    calibrate: Calibrate = False,
    slots: Annotated[
        int | None, typer.Option("--slots", help="Fold trials that train at once (default: as many as fit here).")
    ] = None,
    output: Output = Format.table,
) -> None:
    """What a space would take, for the full grid and as expected under its scheduler; starts nothing.

    As JSON: configs, folds, trials and steps of the full grid; gpu_hours, wall_hours and cost, each with grid,
    expected, low and high (the extremes of the generated worlds on which the scheduler is rehearsed; cost is null
    without budget.cost_per_gpu_hour); slots; step_seconds with its source: stated, measured here, remembered or
    assumed; ended_by: in how many worlds each budget ends the run.

    Example: python -m search plan full_grid --set budget.gpu_hours=5 --step-seconds 0.03 --slots 8
    """
    from search.plan import Asked, make_plan
    from search.show_plan import COLUMNS, document, lines, rows
    from spaces.load import load_space

    made = make_plan(load_space(space, assignments or []), Asked(step_seconds, calibrate, slots))
    if output is Format.json:
        print_json(document(made))
    elif output is Format.csv:
        print_csv(rows(made), COLUMNS)
    else:
        for label, text in lines(made):
            print(f"{label:<12}{text}")
    words = [word for assignment in assignments or [] for word in ("--set", assignment)]
    say(f"\nNext: python -m search launch {shlex.join([space, *words])}")


@app.command()
def launch(
    space: SpaceName,
    assignments: Overrides = None,
    root: Root = RUNS,
    step_seconds: StepSeconds = None,
    calibrate: Calibrate = False,
    force_code: Annotated[bool, typer.Option("--force-code", help="Go on although the code has changed.")] = False,
    recover: Annotated[
        bool, typer.Option("--recover", help="Rebuild a damaged journal from the fold folders.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", envvar="RAY_ADDRESS", help="A Ray cluster to run on: HOST:PORT, or auto."),
    ] = None,
    plain: Plain = False,
    dashboard: Annotated[
        bool,
        typer.Option(
            "--dashboard/--no-dashboard",
            envvar="SCRIBBLE_SEARCH_DASHBOARD",
            help="Show in Ray's dashboard what trains where.",
        ),
    ] = True,
) -> None:
    """Run a space to its end; one that was begun goes on where it stopped, whatever stopped it.

    Example: python -m search launch quickstart
    """
    from search.follow import shown
    from search.narrate import close, say_how_to_go_on
    from spaces.load import load_space

    loaded = load_space(space, assignments or [])
    from search.launch import Request, launch_space  # late, so that a mistake is told before Ray is loaded
    from search.plan import Asked

    request = Request(
        root,
        force_code,
        rebuild=recover,
        plan=Asked(step_seconds, calibrate),
        address=address or None,
        dashboard=dashboard,
        show=partial(shown, plain=plain),
    )
    try:
        run, policy, outcome = launch_space(loaded, request)
    except KeyboardInterrupt:  # the second one, or one before the first job
        say_how_to_go_on(sys.argv[1:])
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(close(run, policy, outcome, sys.argv[1:]))


app.command()(submit)


@app.command()
def status(run: RunName, root: Root = RUNS, output: Output = Format.table) -> None:
    """Where a run stands, also while it is driven from elsewhere, also after it died.

    Example: python -m search status quickstart --format json
    """
    from search.listing import COLUMNS, document, rows, summary
    from search.run_folder import find_run
    from search.status import status_of

    found = find_run(run, root)
    now = status_of(found)
    if output is Format.json:
        print_json(document(now))
    elif output is Format.csv:
        print_csv(rows(now), COLUMNS)
    else:
        print_table(rows(now), f"{found.address}: {summary(now)}")


@app.command()
def watch(
    run: RunName,
    root: Root = RUNS,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    plain: Plain = False,
    once: Annotated[bool, typer.Option("--once", help="Print the picture as it is now, and exit.")] = False,
) -> None:
    """Look on while a run goes on, wherever it is driven from; Ctrl-C leaves the run alone.

    Without a terminal it prints the picture once, or with --plain the events until the run's end.

    Example: python -m search watch quickstart
    """
    from search.follow import watch as look_on
    from search.run_folder import find_run

    raise typer.Exit(look_on(find_run(run, root), interval, plain, once, sys.argv[1:]))


@app.command()
def ledger(run: RunName, root: Root = RUNS, output: Output = Format.table) -> None:
    """What the time of a run's workers went into: what was kept by state, lost to faults, and overhead.

    Of all, and of each config; csv and json tell it of each fold trial. In seconds.

    Example: python -m search ledger quickstart
    """
    from search import ledger_table as printed
    from search.ledger import ledger as draw_up
    from search.run_folder import find_run

    found = find_run(run, root)
    drawn = draw_up(found.lines(), time.time() if found.driven else None)
    if output is Format.json:
        print_json(printed.document(drawn))
    elif output is Format.csv:
        print_csv(printed.rows(drawn), printed.COLUMNS)
    else:
        print_table(printed.table(drawn), f"{found.address}: {printed.summary(drawn)}")


@app.command()
def curves(
    run: RunName,
    out: Annotated[Path, typer.Option(help="The table to write, .parquet or .csv.")],
    root: Root = RUNS,
) -> None:
    """Write the curves of a run as a table: config, fold, step, score, seconds, and the config's parameters.

    Example: python -m search curves quickstart --out curves.parquet
    """
    from search.curves import curves_of, write_table
    from search.run_folder import find_run

    table = curves_of(find_run(run, root).lines())
    write_table(table, out)
    say(f"{out}: {len(table)} reports of {table['config'].nunique()} configs; next: python -m search replay {out}")


@app.command("list")
def list_runs(root: Root = RUNS, output: Output = Format.table) -> None:
    """All runs, and where each stands.

    Example: python -m search list --runs runs
    """
    from search.listing import COUNTS, overview
    from search.run_folder import all_runs

    rows = [overview(run) for run in all_runs(root)]
    if output is Format.json:
        print_json(rows)
    elif output is Format.csv:
        print_csv(rows, COUNTS)
    elif rows:
        print_table(rows)
    else:
        say(f"{root}: holds no run yet; python -m search launch quickstart makes one")


@app.command()
def stop(run: RunName, root: Root = RUNS) -> None:
    """Ask a running search to stop after the reports that are under way; launching it again goes on.

    Example: python -m search stop quickstart
    """
    from search.run_folder import find_run

    found = find_run(run, root)
    if not found.driven:
        raise UserError(f"{found.address}: nobody is driving this run, there is nothing to stop")
    found.ask_to_stop()
    say(f"{found.address}: stops after the reports that are under way")


if __name__ == "__main__":
    run_program(app)
