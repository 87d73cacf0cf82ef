"""The table of the live view: as many columns as fit, with the same widths in every frame."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from search.messages import Entrant
from search.terminal.config_rows import ConfigRow
from search.terminal.glyphs import STYLES, Glyphs, fit
from trainable.printing import ABSENT, deviation, digits, value_text

WIDE, MIDDLE = 100, 70  # terminal widths from which columns get wider
SHORT_ID, MAX_VALUE, MIN_NAME = 6, 13, 6  # characters


@dataclass(frozen=True)
class Parameter:
    """A parameter that differs between configs, and the width of its column."""

    name: str
    width: int


@dataclass(frozen=True)
class Layout:
    """The widths of the columns; 0 omits a column."""

    rank: int
    config: int
    parameters: tuple[Parameter, ...]
    folds: int
    score: int
    note: int


def parameters_of(entrants: Iterable[Entrant]) -> tuple[Parameter, ...]:
    """The parameters that vary, in the order of the space; being inactive counts as a value."""
    configs = [entrant.parameters for entrant in entrants]
    varying = []
    for name in dict.fromkeys(name for parameters in configs for name in parameters):
        values = {value_text(parameters[name]) if name in parameters else ABSENT for parameters in configs}
        if len(values) > 1:
            varying.append(Parameter(name, min(MAX_VALUE, max(map(cell_len, values)))))
    return tuple(varying)


def layout_of(
    configs: int, longest_id: int, parameters: tuple[Parameter, ...], folds: int, width: int, glyphs: Glyphs
) -> Layout:
    """Reserve space for folds and score, then for the note; parameters get what remains."""
    folds = max(folds, len("folds"))
    rank = len(str(configs))
    config = longest_id if width >= WIDE else min(longest_id, SHORT_ID)
    score = 16 + len(glyphs.spread) if width >= MIDDLE else 7
    note = 36 if width >= WIDE else 18 if width >= MIDDLE else 0
    name = MAX_VALUE if width >= WIDE else MIN_NAME
    parameters = tuple(Parameter(each.name, max(each.width, min(len(each.name), name))) for each in parameters)
    left = width - rank - 2 - config - 2 - folds - 2 - score - (note and note + 2)
    chosen: list[Parameter] = []
    for parameter in parameters:
        if left < parameter.width + 1 + (not chosen):
            break
        left -= parameter.width + 1 + (not chosen)
        chosen.append(parameter)
    return Layout(rank, config, tuple(chosen), folds, score, note and note + max(0, left))


def header(layout: Layout, width: int, glyphs: Glyphs) -> Text:
    names = [fit(parameter.name, parameter.width, glyphs, cut="").rstrip("_") for parameter in layout.parameters]
    score = f"mean {glyphs.spread} sd" if layout.score > 7 else "score"
    return _line(layout, ("#", "config", names, Text("folds"), score, "status"), "dim", width, glyphs)


def row(layout: Layout, config_row: ConfigRow, parameters: Mapping[str, object], width: int, glyphs: Glyphs) -> Text:
    values = [value_text(parameters[n]) if (n := each.name) in parameters else ABSENT for each in layout.parameters]
    folds = Text()
    for cell in config_row.cells:
        folds.append(glyphs.of(cell.state, cell.progress), STYLES[cell.state])
    rank = "" if config_row.rank is None else str(config_row.rank)
    config = config_row.config[: layout.config]
    parts = (rank, config, values, folds, _score(config_row, layout.score, glyphs), config_row.note)
    style = "bold" if config_row.rank == 1 else "" if config_row.state in ("running", "done") else "dim"
    return _line(layout, parts, style, width, glyphs)


def _score(config_row: ConfigRow, width: int, glyphs: Glyphs) -> str:
    """Mean and standard deviation of the complete folds, or the score of the most advanced fold with its progress."""
    value = config_row.score if config_row.mean is None else config_row.mean
    if value is None:
        return ""
    text = digits(value)
    if config_row.mean is None:
        detail = f" at {config_row.progress:.0%}"
    else:
        detail = "" if config_row.sd is None else f" {glyphs.spread} {deviation(config_row.sd, config_row.mean)}"
    return text + detail if len(text + detail) <= width else text


def _line(
    layout: Layout, parts: tuple[str, str, list[str], Text, str, str], style: str, width: int, glyphs: Glyphs
) -> Text:
    rank, config, values, folds, score, note = parts
    text = Text(style=style, no_wrap=True)

    def column(content: str | Text, room: int, gap: int = 2) -> None:
        part = Text(fit(content, room, glyphs)) if isinstance(content, str) else content
        text.append_text(part)
        text.append(" " * (max(0, room - part.cell_len) + gap))

    column(rank.rjust(layout.rank), layout.rank)
    column(config, layout.config)
    for value, parameter in zip(values, layout.parameters, strict=True):
        column(value, parameter.width, 1 + (parameter is layout.parameters[-1]))
    column(folds, layout.folds)
    column(score, layout.score)
    column(_drop_clauses(note, layout.note), layout.note, 0)
    text.truncate(width)
    text.rstrip()
    return text


def _drop_clauses(note: str, width: int) -> str:
    """Drop trailing clauses of a note that is too long, unless more than half of the width would stay empty."""
    ends = [end for mark in (" (", ", ") if width // 2 < (end := note.rfind(mark, 0, width + 1)) <= width]
    return note if len(note) <= width or not ends else note[: max(ends)]
