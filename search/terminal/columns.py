"""The table of the live view: as many columns as a width has room for, each as wide in every frame as in the last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from search.messages import Entrant
from search.terminal.config_rows import ConfigRow
from search.terminal.glyphs import STYLES, Glyphs, fit

WIDE, MIDDLE = 100, 70  # from these widths on there is more room
SHORT_ID, LONGEST, FEWEST = 6, 13, 6  # signs of an id where room is dear, of a value at most, of a name at least


@dataclass(frozen=True)
class Parameter:
    """A parameter that differs between configs, and the room that its values take."""

    name: str
    width: int


@dataclass(frozen=True)
class Layout:
    """The widths of the columns; 0 leaves one out."""

    rank: int
    config: int
    parameters: tuple[Parameter, ...]
    folds: int
    score: int
    words: int


def parameters_of(entrants: Iterable[Entrant]) -> tuple[Parameter, ...]:
    """Those that vary, in the order of the space; where a condition leaves one out, that is a value too."""
    everybody = list(entrants)
    found = []
    for name in dict.fromkeys(name for entrant in everybody for name in entrant.parameters):
        values = {plain(entrant.parameters[name]) if name in entrant.parameters else "" for entrant in everybody}
        if len(values) > 1:
            found.append(Parameter(name, min(LONGEST, max(map(cell_len, values)))))
    return tuple(found)


def plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ",".join(plain(each) for each in value)
    return str(value)


def layout_of(
    configs: int, longest_id: int, parameters: tuple[Parameter, ...], folds: int, width: int, glyphs: Glyphs
) -> Layout:
    """What tells how a config does comes first, then the words, then as many parameters as there is room for."""
    folds = max(folds, len("folds"))
    rank = len(str(configs))
    config = longest_id if width >= WIDE else min(longest_id, SHORT_ID)
    score = 14 + len(glyphs.spread) if width >= MIDDLE else 6
    words = 36 if width >= WIDE else 18 if width >= MIDDLE else 0
    name = LONGEST if width >= WIDE else FEWEST
    parameters = tuple(Parameter(each.name, max(each.width, min(len(each.name), name))) for each in parameters)
    left = width - rank - 2 - config - 2 - folds - 2 - score - (words and words + 2)
    chosen: list[Parameter] = []
    for parameter in parameters:
        if left < parameter.width + 1 + (not chosen):
            break
        left -= parameter.width + 1 + (not chosen)
        chosen.append(parameter)
    return Layout(rank, config, tuple(chosen), folds, score, words and words + max(0, left))


def header(layout: Layout, width: int, glyphs: Glyphs) -> Text:
    names = [fit(parameter.name, parameter.width, glyphs, cut="").rstrip("_") for parameter in layout.parameters]
    score = f"mean {glyphs.spread} sd" if layout.score > len("score") + 1 else "score"
    return _line(layout, ("#", "config", names, Text("folds"), score, "now, or why not"), "dim", width, glyphs)


def row(layout: Layout, contender: ConfigRow, parameters: Mapping[str, object], width: int, glyphs: Glyphs) -> Text:
    values = [plain(parameters[each.name]) if each.name in parameters else "" for each in layout.parameters]
    folds = Text()
    for cell in contender.cells:
        folds.append(glyphs.of(cell.state, cell.share), STYLES[cell.state])
    rank = "" if contender.rank is None else str(contender.rank)
    config = contender.config[: layout.config]
    parts = (rank, config, values, folds, _score(contender, layout.score, glyphs), contender.words)
    style = "bold" if contender.rank == 1 else "" if contender.state in ("running", "done") else "dim"
    return _line(layout, parts, style, width, glyphs)


def _score(contender: ConfigRow, width: int, glyphs: Glyphs) -> str:
    """Over the folds at full length; before there is one, the furthest fold's at a share of its steps."""
    value = contender.score if contender.mean is None else contender.mean
    if value is None:
        return ""
    text = f"{value:.4f}"
    if contender.mean is None:
        more = f" at {contender.share:.0%}"
    else:
        more = "" if contender.sd is None else f" {glyphs.spread} {contender.sd:.4f}"
    return text + more if len(text + more) <= width else text


def _line(
    layout: Layout, parts: tuple[str, str, list[str], Text, str, str], style: str, width: int, glyphs: Glyphs
) -> Text:
    rank, config, values, folds, score, words = parts
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
    column(_whole(words, layout.words), layout.words, 0)
    text.truncate(width)
    text.rstrip()
    return text


def _whole(words: str, room: int) -> str:
    """Without the last clauses, where what stays of them is worth the room."""
    ends = [place for mark in (" (", ", ") if room // 2 < (place := words.rfind(mark, 0, room + 1)) <= room]
    return words if len(words) <= room or not ends else words[: max(ends)]
