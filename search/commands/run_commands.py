"""Commands that look at runs, or ask something of one: from any terminal, whoever drives it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from search.commands.options import RUNS, Output, Plain, Root, RunName
from trainable.errors import UserError
from trainable.printing import Format, print_csv, print_json, print_table, say


def status(run: RunName, root: Root = RUNS, output: Output = Format.table) -> None:
    """Where a run stands, also while it is driven from elsewhere, also after it died.

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
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    plain: Plain = False,
    once: Annotated[bool, typer.Option("--once", help="Print the picture as it is now, and exit.")] = False,
) -> None:
    """Look on while a run goes on, wherever it is driven from; Ctrl-C leaves the run alone.

    Without a terminal it prints the picture once, or with --plain the events until the run's end.

    Example: python -m search watch quickstart
    """
    from search.run_storage.find_runs import find_run
    from search.terminal.watch import watch as look_on

    raise typer.Exit(look_on(find_run(run, root), interval, plain, once, sys.argv[1:]))


def ledger(run: RunName, root: Root = RUNS, output: Output = Format.table) -> None:
    """What the time of a run's workers went into: what was kept by state, lost to faults, and overhead.

    Of all, and of each config; csv and json tell it of each fold trial. In seconds.

    Example: python -m search ledger quickstart
    """
    from search.run_storage.find_runs import find_run
    from search.runs.ledger import ledger as draw_up
    from search.terminal import ledger_table as printed

    found = find_run(run, root)
    drawn = draw_up(found.lines(), time.time() if found.driven else None)
    if output is Format.json:
        print_json(printed.document(drawn))
    elif output is Format.csv:
        print_csv(printed.rows(drawn), printed.COLUMNS)
    else:
        print_table(printed.table(drawn), f"{found.address}: {printed.summary(drawn)}")


def curves(
    run: RunName,
    out: Annotated[Path, typer.Option(help="The table to write, .parquet or .csv.")],
    root: Root = RUNS,
) -> None:
    """Write the curves of a run as a table: config, fold, step, score, seconds, and the config's parameters.

    Example: python -m search curves quickstart --out curves.parquet
    """
    from search.replay.run_curves import curve_table, write_table
    from search.run_storage.find_runs import find_run

    table = curve_table(find_run(run, root).lines())
    write_table(table, out)
    say(f"{out}: {len(table)} reports of {table['config'].nunique()} configs; next: python -m search replay {out}")


def list_runs(root: Root = RUNS, output: Output = Format.table) -> None:
    """All runs, and where each stands.

    Example: python -m search list --runs runs
    """
    from search.run_storage.find_runs import all_runs
    from search.terminal.listing import COUNTS, overview

    rows = [overview(run) for run in all_runs(root)]
    if output is Format.json:
        print_json(rows)
    elif output is Format.csv:
        print_csv(rows, COUNTS)
    elif rows:
        print_table(rows)
    else:
        say(f"{root}: holds no run yet; python -m search launch quickstart makes one")


def stop(run: RunName, root: Root = RUNS) -> None:
    """Ask a running search to stop after the reports that are under way; launching it again goes on.

    Example: python -m search stop quickstart
    """
    from search.run_storage.find_runs import find_run

    found = find_run(run, root)
    if not found.driven:
        raise UserError(f"{found.address}: nobody is driving this run, there is nothing to stop")
    found.ask_to_stop()
    say(f"{found.address}: stops after the reports that are under way")
