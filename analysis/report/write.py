"""Write the report of a run, with summary.csv and selection.json beside it."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from analysis.answer.document import document, summary_rows
from analysis.answer.selection import Selection
from analysis.report import classes, costs, curves, effects, images, overview, ranges
from analysis.report.figure import Section
from analysis.report.page import page
from search.runs.run_tables import RunTables
from trainable.printing import plural
from trainable.storage.atomic_files import write_json, write_text

FOLDER = "analysis"
REPORT, SUMMARY, SELECTION = "report.html", "summary.csv", "selection.json"


def write_report(tables: RunTables, selection: Selection, out: Path | None = None) -> tuple[Path, list[Section]]:
    """Write the three files atomically; return the report's path and its sections."""
    folder = out or tables.run.folder / FOLDER
    found = sections(tables, selection)
    settings = tables.space.settings
    trials = plural(len(tables.trials), "fold trial")
    subtitle = (
        f"{plural(len(tables.configs), 'config')} on {settings.folds} folds, {trials} "
        f"started, {settings.scheduler.name} scheduler · {tables.status.state}"
    )
    write_json(folder / SELECTION, document(tables, selection))
    write_text(folder / SUMMARY, _csv(tables, selection))
    write_text(folder / REPORT, page(tables.run.name, subtitle, found, following(tables, selection)))
    return folder / REPORT, found


def sections(tables: RunTables, selection: Selection) -> list[Section]:
    """All sections; the first is the first screen."""
    more: list[Callable[[], Section | None]] = [
        lambda: overview.ranking(tables, selection),
        lambda: effects.ablations(tables, selection),
        lambda: ranges.ranges(tables, selection),
        lambda: ranges.parallel(tables, selection),
        lambda: curves.learning(tables, selection),
        lambda: curves.folds(tables, selection),
        lambda: classes.classes(tables, selection),
        lambda: images.pictures(tables, selection),
        lambda: costs.costs(tables),
        lambda: costs.provenance(tables),
    ]
    made = [make() for make in more]
    return [overview.overview(tables, selection), *(each for each in made if each is not None)]


def following(tables: RunTables, selection: Selection) -> str:
    """The next command."""
    if selection.winner is None:
        return tables.run.resume_command
    return f"python -m analysis ensemble {tables.run.address}"


def _csv(tables: RunTables, selection: Selection) -> str:
    rows = summary_rows(tables, selection)
    columns = list(rows[0]) if rows else ["config"]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
