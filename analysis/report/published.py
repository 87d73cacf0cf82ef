"""Published figures beside this run's: a table per source, and why the two may differ."""

from collections.abc import Mapping, Sequence
from html import escape

from analysis.answer.published import PublishedFigure, rows
from analysis.answer.score_basis import scored_on_scribbles
from analysis.report.figure import Figure, Markup, Section, sentence, table
from search.runs.run_tables import RunTables

REPEATED = ("configs", "folds", "size", "images", "config")
TITLE = "Published figures beside ours"


def published(tables: RunTables, figures: Sequence[PublishedFigure]) -> Section | None:
    """None if the space names no published figures."""
    if not figures:
        return None
    units = " or ".join(sorted({each.units for each in figures if each.units}))
    interval = f"; its interval is over {units}" if units else ""
    basis = (
        f"Ours is the mean over folds of held-out images, {tables.space.trainable.scored}{interval}. Of several "
        f"configs, the best by {tables.metric} is shown, whose interval is corrected for that "
        f"choice. The difference is ours minus the published figure. {scored_on_scribbles(tables)}"
    )
    blocks: list[Figure | Markup] = [sentence(basis.strip())]
    for source in dict.fromkeys(each.source for each in figures):
        own = [each for each in figures if each.source == source]
        blocks.append(Markup(f"<h3>{escape(source)}</h3>{table(_grouped(rows(own))).html}{_notes(own)}"))
    return Section("published", TITLE, blocks)


def _grouped(cells: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Without what the row above says already: the configs, and what was trained of them."""
    found: list[dict[str, str]] = []
    above = ""
    for row in cells:
        again = REPEATED if row["configs"] == above else ()
        found.append({name: "" if name in again else value for name, value in row.items()})
        above = row["configs"]
    return found


def _notes(figures: Sequence[PublishedFigure]) -> str:
    """Each note once, with the configs that it is about unless it is about all."""
    notes: dict[str, dict[str, None]] = {}
    for each in figures:
        notes.setdefault(each.note, {})[each.where] = None
    lines = [
        escape(note if len(notes) == 1 else f"{'; '.join(wheres)}: {note}") for note, wheres in notes.items() if note
    ]
    return f"<ul class='notes'>{''.join(f'<li>{line}</li>' for line in lines)}</ul>" if lines else ""
