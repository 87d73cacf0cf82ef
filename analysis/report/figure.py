"""The parts of a page (sections of figures, tables and text) and the colours that figures share."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from trainable.printing import ABSENT, digits, value_text

# Figures name colours; page.html looks them up in its light or dark style.
WINNER, SET, OTHER, INK, MUTED, LINE, FAILED = "$winner", "$set", "$other", "$ink", "$muted", "$line", "$failed"
SCALE = [[0, "$low"], [1, "$set"]]


@dataclass(frozen=True)
class Figure:
    """``title`` states the finding, ``caption`` explains how to read it and gives n."""

    name: str
    title: str
    caption: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    height: int = 340
    least_width: int = 0  # in pixels; narrower screens scroll inside the figure
    half: bool = False  # shown beside another one if there is room

    def document(self) -> dict[str, Any]:
        """The plotly figure, with names instead of colours."""
        return {"data": list(self.traces), "layout": {**self.layout, "height": self.height}}


@dataclass(frozen=True)
class Markup:
    """Escaped HTML."""

    html: str


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    blocks: Sequence[Figure | Markup] = field(default_factory=tuple)

    @property
    def figures(self) -> list[Figure]:
        return [block for block in self.blocks if isinstance(block, Figure)]


def sentence(text: str) -> Markup:
    return Markup(f"<p>{escape(text)}</p>")


def table(rows: Sequence[Mapping[Any, Any]], note: str = "") -> Markup:
    """A table with a header; numbers have four significant digits."""
    if not rows:
        return Markup("")
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    body = "".join(f"<tr>{''.join(_cell(value) for value in row.values())}</tr>" for row in rows)
    below = f'<p class="caption">{escape(note)}</p>' if note else ""
    return Markup(
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{below}"
    )


def details(summary: str, inner: Markup) -> Markup:
    return Markup(f"<details><summary>{escape(summary)}</summary>{inner.html}</details>")


def as_json(value: Any) -> str:
    """JSON that is safe inside a script element; NaN becomes null."""
    text = json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def label(value: Any) -> str:
    """Escape a value for plotly, which interprets markup."""
    return escape(short(value))


def short(value: Any) -> str:
    """A value as short text."""
    absent = value is None or (isinstance(value, float) and math.isnan(value))
    return ABSENT if absent else value_text(value)


def values_of(row: Mapping[Any, Any], names: Sequence[str]) -> str:
    """The values of a config as one line of a hover label."""
    return "<br>".join(f"{label(name)}: {label(row[name])}" for name in names)


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **more}


def whole_numbers(upto: int) -> dict[str, Any]:
    """The ticks of an axis of counts, at integers only."""
    return {"tickformat": "d", "tick0": 0, "dtick": 1} if upto <= 20 else {"tickformat": "d"}


def duration(seconds: float, device: str = "GPU") -> str:
    """The time of a device, GPU or CPU."""
    size, unit = (3600, "hours") if seconds >= 3600 else (60, "minutes") if seconds >= 90 else (1, "seconds")
    return f"{digits(seconds / size)} {device}-{unit}"


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{escape('' if value is None else str(value))}</td>"
    if isinstance(value, float) and math.isnan(value):
        return "<td></td>"
    return f'<td class="number">{digits(value) if isinstance(value, float) else value}</td>'


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return round(value, 6) if abs(value) >= 0.01 else float(f"{value:.5g}")  # a learning rate may be tiny
    return value
