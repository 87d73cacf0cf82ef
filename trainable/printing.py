"""Output of all commands: data on stdout as a table, JSON or CSV; messages on stderr."""

import csv
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import rich.progress
from rich.console import Console
from rich.table import Table


class Format(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"


Progress = Callable[[int, int], None]

talk = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a message for people; markup in data is never interpreted."""
    talk.print(text, markup=False)


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 config", "2 configs"; ``many`` is for plurals that are not formed with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@contextmanager
def progress_bar(label: str, after: float = 0.0) -> Iterator[Progress]:
    """A callable for (done, total) that draws a progress bar on a terminal.

    The bar appears only after some seconds, so that short work draws none.
    """
    began = time.monotonic()
    with rich.progress.Progress(console=talk, transient=True, disable=not talk.is_terminal) as bar:
        tasks: list[rich.progress.TaskID] = []

        def advance(done: int, total: int) -> None:
            if not tasks and time.monotonic() - began < after:
                return
            if not tasks:
                tasks.append(bar.add_task(label, total=total))
            bar.update(tasks[0], completed=done)

        yield advance


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2))


def print_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Rows under a header; ``columns`` is needed if there may be no rows."""
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def print_table(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> None:
    """A table that fits the terminal; in a pipe, it is as wide as its content."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = all(isinstance(row.get(column, 0), (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(table, markup=False)


def print_rows(rows: Sequence[Mapping[str, Any]], output: Format) -> None:
    """Print rows in the requested format."""
    if output is Format.json:
        print_json(list(rows))
    elif output is Format.csv:
        print_csv(rows)
    else:
        print_table(rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
