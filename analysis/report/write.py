"""Write the report of a run, with summary.csv and selection.json beside it.

The page is one HTML file with its style, plotly, and the figures as JSON.
"""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from analysis.answer.document import document, summary_rows
from analysis.answer.published import published_figures
from analysis.answer.selection import Selection
from analysis.report import classes, costs, curves, effects, images, overview, published, ranges
from analysis.report.figure import Figure, Markup, Section, as_json
from search.runs.run_tables import RunTables
from trainable.printing import plural
from trainable.storage.atomic_files import write_json, write_text

TEMPLATE = Path(__file__).with_name("page.html")
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
        lambda: published.published(tables, published_figures(tables)),
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


def page(title: str, subtitle: str, sections: Sequence[Section], following: str) -> str:
    """The whole document; the first section fills the first screen."""
    from plotly.offline import get_plotlyjs

    first, *rest = sections
    links = "".join(f'<a href="#{each.name}">{escape(each.title)}</a>' for each in rest)
    figures = {figure.name: figure.document() for each in sections for figure in each.figures}
    parts = {
        "TITLE": escape(title),
        "SUBTITLE": escape(subtitle),
        "LINKS": links,
        "FIRST": "".join(_block(block) for block in first.blocks),
        "SECTIONS": "".join(_section(each) for each in rest),
        "NEXT": escape(following),
        "MADE": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "FIGURES": as_json(figures),
        "PLOTLY": get_plotlyjs(),
    }
    pieces = TEMPLATE.read_text().split("@@")  # text and placeholders alternate; inserted text is not searched again
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _section(section: Section) -> str:
    blocks = "".join(_block(block) for block in section.blocks)
    title = f"<h2>{escape(section.title)}</h2>"
    return f'<section id="{escape(section.name)}">{title}<div class="grid">{blocks}</div></section>'


def _block(block: Figure | Markup) -> str:
    if isinstance(block, Markup):
        return f'<div class="wide">{block.html}</div>' if block.html else ""
    return (
        f'<figure class="{"half" if block.half else "wide"}"><h3>{escape(block.title)}</h3>'
        f'<div class="scroll"><div class="plot" data-figure="{escape(block.name, quote=True)}" role="img" '
        f'aria-label="{escape(block.title, quote=True)}" '
        f'style="height:{block.height}px;min-width:{block.least_width}px">'
        f"</div></div><figcaption>{escape(block.caption)}</figcaption></figure>"
    )


def _csv(tables: RunTables, selection: Selection) -> str:
    rows = summary_rows(tables, selection)
    columns = list(rows[0]) if rows else ["config"]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
