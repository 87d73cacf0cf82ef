"""Output of all commands: data on stdout as a table, JSON or CSV; messages on stderr."""

import csv
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import rich.progress
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table


class Format(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"


Progress = Callable[[int, int], None]
ABSENT = "–"  # what people are shown where there is no value

PIPE, GAP = 200, 2  # columns if the output is not a terminal, and those between two columns
talk = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a message for people; markup in data is never interpreted."""
    talk.print(text, markup=False)


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 config", "2 configs"; ``many`` is for plurals that are not formed with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def digits(value: float | None, sign: bool = False) -> str:
    """A measurement for people: four significant digits, 1e-07 instead of 0.0000, and a dash if there is none."""
    if value is None or math.isnan(value):
        return ABSENT
    plus, size = "+" if sign else "", abs(value)
    if size >= 1000:
        return f"{value:{plus},.0f}" if math.isfinite(value) else f"{value:{plus}}"
    # Zeros at the end are kept where they align scores: 0.8500.
    return f"{value:{plus}#.4g}" if size >= 0.1 else f"{value:{plus}.4g}"


def deviation(sd: float, mean: float) -> str:
    """A standard deviation with as many decimals as the mean beside it."""
    return f"{sd:.{len(digits(mean).partition('e')[0].partition('.')[2])}f}" if abs(mean) >= 1e-4 else digits(sd)


def device_time(seconds: float, device: str, low: float | None = None, high: float | None = None) -> str:
    """The hours of a device, or seconds if there are few of them, with their extremes if those differ."""
    size, unit = (3600.0, "hours") if seconds >= 30.0 else (1.0, "seconds")
    least, most = (None if end is None else digits(end / size) for end in (low, high))
    spread = "" if least == most else f" ({least} to {most})"
    return f"{digits(seconds / size)} {device}-{unit}{spread}"


def value_text(value: Any) -> str:
    """The value of a parameter for people, in the words of space files."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {value_text(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(value_text, value))
    return str(value)


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


def print_table(rows: Sequence[Mapping[str, Any]], title: str | None = None, droppable: Sequence[str] = ()) -> None:
    """A table that fits the terminal; in a pipe, it is as wide as its content.

    The last of the ``droppable`` columns are left out if they do not fit, which is said below the table.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = {column: [_cell(row.get(column)) for row in rows] for column in columns}
    widths = {column: max(cell_len(cell) for cell in [column, *cells[column]]) + GAP for column in columns}
    dropped: list[str] = []
    for column in reversed([column for column in columns if column in droppable]):
        if sum(widths[each] for each in columns) <= console.width + GAP:
            break
        columns.remove(column)
        dropped.insert(0, column)
    if title:  # a title of the table would be wrapped at its width
        console.print(title, style="bold", markup=False, soft_wrap=not sys.stdout.isatty())
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = all(isinstance(row.get(column) or 0, (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for place in range(len(rows)):
        table.add_row(*(cells[column][place] for column in columns))
    console.print(table, markup=False)
    if dropped:
        console.print(f"not shown for lack of width: {', '.join(dropped)}; --format csv shows all", markup=False)


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
    return digits(value) if isinstance(value, float) else value_text(value)
