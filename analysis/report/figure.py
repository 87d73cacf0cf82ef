"""What a page is made of: sections of figures, tables and sentences; and the few colours that all figures share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

# Colours are named here and looked up by the page, which knows whether it is light or dark: see page.html.
WINNER, SET, OTHER, INK, MUTED, LINE, FAILED = "$winner", "$set", "$other", "$ink", "$muted", "$line", "$failed"
SCALE = [[0, "$low"], [1, "$set"]]


@dataclass(frozen=True)
class Figure:
    """``title`` is what it shows in words, ``caption`` how to read it and how many runs stand behind it."""

    name: str
    title: str
    caption: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    height: int = 340
    least_width: int = 0  # narrower screens scroll inside the figure
    half: bool = False  # stands beside another one where there is room

    def document(self) -> dict[str, Any]:
        """What plotly draws, with the colours still by name."""
        return {"data": list(self.traces), "layout": {**self.layout, "height": self.height}}


@dataclass(frozen=True)
class Markup:
    """HTML whose every name and number has been escaped."""

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
    """Rows under a header; numbers are rounded to what can be told apart."""
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
    """For a script element: nothing in it can end the element, and NaN is null."""
    text = json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def label(value: Any) -> str:
    """A value in a figure, where plotly would read markup in it."""
    return escape(short(value))


def short(value: Any) -> str:
    """A value as far as people care for its digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def values_of(row: Mapping[Any, Any], names: Sequence[str]) -> str:
    """A config's values on one line of a hover label."""
    return "<br>".join(f"{label(name)}: {label(row[name])}" for name in names)


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **more}


def whole_numbers(upto: int) -> dict[str, Any]:
    """For an axis that counts: no tick between two numbers, however few they are."""
    return {"tickformat": "d", "tick0": 0, "dtick": 1} if upto <= 20 else {"tickformat": "d"}


def duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} GPU-hours"
    return f"{seconds / 60:.1f} GPU-minutes" if seconds >= 90 else f"{seconds:.0f} GPU-seconds"


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{escape('' if value is None else str(value))}</td>"
    if isinstance(value, float) and math.isnan(value):
        return "<td></td>"
    return f'<td class="number">{value:.4f}</td>' if isinstance(value, float) else f'<td class="number">{value}</td>'


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
        return round(value, 6) if math.isfinite(value) else None
    return value
