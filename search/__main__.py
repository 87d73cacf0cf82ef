"""``python -m search``: the command line of the search."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from search.compare import Outcome, Source, compare, mean_of
from search.schedulers import SCHEDULERS, scheduler
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


@app.command()
def replay(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(help="Recorded curves (.parquet, .csv), or folders of them.", metavar="TABLE..."),
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
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.table,  # noqa: A002
) -> None:
    """What schedulers would have cost on recorded curves, and what they would have picked.

    A table has the columns config, fold, step, score and seconds (cumulative within a fold trial); further
    columns are parameters of the config. Cost is the share of the full grid's GPU-seconds; wall is in
    seconds.
    """
    sources = _sources(tables or [], worlds, count, seed)
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


def _sources(tables: list[Path], worlds: str | None, count: int, seed: int) -> list[Source]:
    if bool(tables) == bool(worlds):
        raise UserError("replay needs either tables or --worlds")
    if worlds is None:
        return [partial(read_table, path) for path in find_tables(tables)]
    if worlds not in RECIPES:
        raise UserError(f"--worlds {worlds!r} is unknown.{did_you_mean(worlds, RECIPES)} Known: {', '.join(RECIPES)}.")
    return [partial(generated, RECIPES[worlds], seed + number) for number in range(count)]


Root = Annotated[Path, typer.Option("--runs", help="The folder that holds all runs.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name.")]
Output = Annotated[Format, typer.Option("--format", help="How to print.")]
RUNS = Path("runs")


@app.command()
def launch(
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A space file, or the name of a shipped one.")],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override any key of the space.")
    ] = None,
    root: Root = RUNS,
    force_code: Annotated[bool, typer.Option("--force-code", help="Go on although the code has changed.")] = False,
    recover: Annotated[
        bool, typer.Option("--recover", help="Rebuild a damaged journal from the fold folders.")
    ] = False,
) -> None:
    """Run a space to its end; one that was begun goes on where it stopped, whatever stopped it.

    Example: python -m search launch quickstart
    """
    from search.narrate import Lines, close, say_how_to_go_on
    from spaces.load import load_space

    loaded = load_space(space, assignments or [])
    from search.launch import launch_space  # late, so that a mistake is told before Ray is loaded

    try:
        run, policy, outcome = launch_space(loaded, root, force_code, recover, Lines())
    except KeyboardInterrupt:  # the second one, or one before the first job
        say_how_to_go_on(sys.argv[1:])
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(close(run, policy, outcome, sys.argv[1:]))


@app.command()
def status(run: RunName, root: Root = RUNS, output: Output = Format.table) -> None:
    """Where a run stands, also while it is driven from elsewhere, also after it died.

    Example: python -m search status quickstart --format json
    """
    from search import status as reading
    from search.run_folder import find_run

    found = find_run(run, root)
    now = reading.status_of(found)
    if output is Format.json:
        print_json(reading.document(now))
    elif output is Format.csv:
        print_csv(reading.rows(now), reading.COLUMNS)
    else:
        print_table(reading.rows(now), f"{found.folder}: {reading.summary(now)}")


@app.command("list")
def list_runs(root: Root = RUNS, output: Output = Format.table) -> None:
    """All runs, and where each stands.

    Example: python -m search list --runs runs
    """
    from search.run_folder import all_runs
    from search.status import COUNTS, overview

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
    from search.run_folder import STOP_FILE, find_run

    found = find_run(run, root)
    if not found.driven:
        raise UserError(f"{found.folder}: nobody is driving this run, there is nothing to stop")
    (found.folder / STOP_FILE).touch()
    say(f"{found.folder}: stops after the reports that are under way")


if __name__ == "__main__":
    run_program(app)
