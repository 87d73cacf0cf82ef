"""``python -m search replay``: schedulers compared on recorded or generated curves."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from search.commands.options import RUNS, Root
from trainable.errors import UserError, did_you_mean
from trainable.printing import Format, plural, print_csv, print_json, print_table, talk

if TYPE_CHECKING:
    from search.replay.comparison import Source

_TIMES = {("s",): "s", ("cost",): "in units of cost", ("cost", "s"): "s and units of cost, mixed"}


Tables = Annotated[
    list[str] | None,
    typer.Argument(help="Runs, recorded curves (.parquet, .csv), or folders of either.", metavar="RUN|TABLE..."),
]
Schedulers = Annotated[
    list[str] | None,
    typer.Option(
        "--scheduler",
        help="grid, asha, halving or foldrace (default: all four), or a baseline: ray-asha, median, wilcoxon, random; "
        "may be repeated.",
    ),
]
Workers = Annotated[int, typer.Option(min=1, help="Fold trials that train at once.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the worlds and of the orders of repeats.")]
Repeats = Annotated[
    int, typer.Option(min=1, help="How often to replay each table, each time with configs and folds in another order.")
]
Worlds = Annotated[
    str | None, typer.Option(help="Generated worlds instead of tables: mild, strong, factorial, close or noisy.")
]
WorldCount = Annotated[int, typer.Option(min=1, help="How many worlds to generate.")]
Minimize = Annotated[bool, typer.Option("--minimize", help="Lower scores are better in these tables.")]
Processes = Annotated[int, typer.Option(min=0, help="Processes to use; 0 is one for each core.")]


def replay(
    tables: Tables = None,
    schedulers: Schedulers = None,
    workers: Workers = 8,
    seed: Seed = 0,
    repeats: Repeats = 1,
    worlds: Worlds = None,
    count: WorldCount = 200,
    minimize: Minimize = False,
    processes: Processes = 0,
    root: Root = RUNS,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.table,  # noqa: A002
) -> None:
    """Compare what schedulers cost and pick on recorded curves.

    A table has the columns config, fold, step, score and seconds (cumulative within a fold trial; or cost, in any
    unit); further columns are parameters of the config. Scores may have any scale. Of a run, only the configs with all
    folds are replayed, by the goal of its space. In the output, cost is the share of the full grid's training time,
    wall the duration in seconds or in units of cost, regret how far the mean of the picked config is behind the best
    one, p_best and p_top3 how often the pick is the best or among the best three, and set_coverage how often the set
    contains the best.

    Example: python -m search replay quickstart
    """
    from search.policies.registry import SCHEDULERS, scheduler
    from search.replay.comparison import ReplayOutcome, compare, mean_row

    sources = _sources(tables or [], worlds, count, seed, root, minimize)
    names = list(dict.fromkeys(schedulers or SCHEDULERS))
    for name in names:
        scheduler(name)
    processes = min(processes or os.cpu_count() or 1, len(sources))
    found: dict[str, list[ReplayOutcome]] = {name: [] for name in names}
    with Progress(console=talk, disable=not talk.is_terminal, transient=True) as progress:
        bar = progress.add_task("replaying", total=len(sources))
        for part in compare(sources, names, workers, seed, repeats, processes):
            progress.advance(bar)
            for name in names:
                found[name] += part[name]
    rows = [mean_row(name, found[name]) for name in names]
    if format is Format.json:
        print_json(rows)
    elif format is Format.csv:
        print_csv(rows)
    else:
        units = {"cost": "cost, share of the grid", "wall": f"wall, {_unit(tables or [], root)}"}
        rows = [{units.get(name, name): value for name, value in row.items()} for row in rows]
        print_table(rows, f"{plural(len(found[names[0]]), 'replay')} with {plural(workers, 'worker')}")


def _unit(tables: list[str], root: str) -> str:
    """What wall time is in; generated worlds have seconds."""
    from search.replay.curve_tables import find_tables, unit_of_time

    return _TIMES[tuple(sorted({unit_of_time(path) for path in find_tables(tables, root)} or {"s"}))]


def _sources(tables: list[str], worlds: str | None, count: int, seed: int, root: str, minimize: bool) -> list[Source]:
    from search.replay.curve_tables import find_tables, read_table
    from search.replay.generated_worlds import RECIPES, generated_study

    if bool(tables) == bool(worlds):
        raise UserError("replay needs either tables or --worlds")
    if worlds is not None and minimize:
        raise UserError("--minimize is for tables; higher scores of generated worlds are better")
    if worlds is None:
        return [partial(read_table, path, minimize) for path in find_tables(tables, root)]
    if worlds not in RECIPES:
        raise UserError(f"--worlds {worlds!r} is unknown.{did_you_mean(worlds, RECIPES)} Known: {', '.join(RECIPES)}.")
    return [partial(generated_study, RECIPES[worlds], seed + number) for number in range(count)]
