"""Write the report of a run, with summary.csv and selection.json beside it.

The page is one HTML file with its style, plotly, and the figures and the run as JSON.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from analysis.answer.document import document, summary_rows
from analysis.answer.published import published_figures
from analysis.answer.selection import Selection
from analysis.report import classes, costs, effects, explorer, images, overview, published, ranges
from analysis.report.figure import Section
from analysis.report.page.image_scores import image_scores
from analysis.report.page.page import Page
from analysis.report.page.page import document as page_document
from analysis.report.page.run_data import run_data
from search.runs.run_tables import RunTables
from trainable.printing import plural, value_text
from trainable.storage.atomic_files import write_json, write_text

FOLDER = "analysis"
REPORT, SUMMARY, SELECTION = "report.html", "summary.csv", "selection.json"


def write_report(tables: RunTables, selection: Selection, out: Path | None = None) -> tuple[Path, list[Section]]:
    """Write the three files atomically; return the report's path and its sections."""
    folder = out or tables.run.folder / FOLDER
    page = report_page(tables, selection)
    write_json(folder / SELECTION, document(tables, selection))
    write_text(folder / SUMMARY, _csv(tables, selection))
    write_text(folder / REPORT, page_document(page))
    return folder / REPORT, list(page.sections)


def report_page(tables: RunTables, selection: Selection, without_images: str = "") -> Page:
    """The page of a run as it stands, for a file or for the live page.

    ``without_images`` says why no images are predicted, which takes as long as all the rest together.
    """
    tables = _with_countable_values(tables)
    settings = tables.space.settings
    trials = plural(len(tables.trials), "fold trial")
    subtitle = (
        f"{plural(len(tables.configs), 'config')} on {settings.folds} folds, {trials} "
        f"started, {settings.scheduler.name} scheduler · {tables.status.state}"
    )
    found = sections(tables, selection, without_images)
    run = run_data(tables, selection)
    order = [config["id"] for config in run["configs"]]
    run["images"] = {"why": without_images} if without_images else image_scores(tables, order)
    return Page(tables.run.name, subtitle, found, following(tables, selection), run)


def _with_countable_values(tables: RunTables) -> RunTables:
    """The tables with lists, which parameters of a trainable of one's own may have as values, as text."""
    lists = [
        name for name in tables.parameters if any(isinstance(value, list) for value in tables.configs[name].tolist())
    ]
    if not lists:
        return tables
    return replace(
        tables, configs=tables.configs.assign(**{name: tables.configs[name].map(value_text) for name in lists})
    )


def sections(tables: RunTables, selection: Selection, without_images: str = "") -> list[Section]:
    """All sections; the first is the first screen."""
    more: list[Callable[[], Section | None]] = [
        lambda: explorer.explorer(tables, selection),
        lambda: explorer.stops(tables),
        lambda: published.published(tables, published_figures(tables)),
        lambda: effects.ablations(tables, selection),
        lambda: ranges.ranges(tables, selection),
        lambda: classes.classes(tables, selection),
        lambda: images.none_yet(without_images) if without_images else images.pictures(tables, selection),
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
