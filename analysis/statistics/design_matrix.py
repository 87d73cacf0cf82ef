"""Parameters as columns of a linear model, and which of them the configs at hand can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd

from search.race.mixed_model import Array

MOST_LEVELS = 6  # a numeric parameter with more values is cut into bins of equally many configs
BINS = 3  # enough to see that a parameter is best in the middle, where a slope would see nothing


@dataclass(frozen=True)
class Coded:
    """A row per config. A column's effects add up to 0 over the levels; where a parameter is not set (because it
    holds under a condition only) it has none, so that it is told apart from what it depends on.
    """

    name: str
    levels: tuple[str, ...]
    labels: tuple[str | None, ...]  # of each config

    @property
    def contrasts(self) -> Array:
        """Levels x columns."""
        return np.concatenate([np.eye(len(self.levels) - 1), -np.ones((1, len(self.levels) - 1))])

    @property
    def columns(self) -> Array:
        rows = dict(zip(self.levels, self.contrasts, strict=True))
        unset = np.zeros(len(self.levels) - 1)
        return np.array([unset if label is None else rows[label] for label in self.labels])

    def has(self, level: str) -> list[bool]:
        return [label == level for label in self.labels]


def code(name: str, values: Sequence[object]) -> Coded:
    """The levels in order: numbers by size, anything else as it first came."""
    present = [value for value in values if not _unset(value)]
    numeric = bool(present) and all(isinstance(value, Real) and not isinstance(value, bool) for value in present)
    if numeric and len(set(present)) > MOST_LEVELS:
        return _binned(name, np.array([np.nan if _unset(value) else value for value in values], dtype=float))
    labels = tuple(None if _unset(value) else _word(value) for value in values)
    ordered = sorted(present, key=float) if numeric else present  # type: ignore[arg-type]
    return Coded(name, tuple(dict.fromkeys(_word(value) for value in ordered)), labels)


def untellable(coded: Sequence[Coded]) -> dict[str, str]:
    """The parameters whose effects the configs cannot tell from those of others, each with the reason."""
    found = {}
    for one in coded:
        others = [each for each in coded if each is not one]
        if _rank([one, *others]) - _rank(others) == len(one.levels) - 1:
            continue
        partners = [each.name for each in others if _rank([one, each]) < len(one.levels) + len(each.levels) - 1]
        found[one.name] = f"{one.name} cannot be told from {' or '.join(partners) or 'the other parameters together'}"
    return found


def _rank(coded: Sequence[Coded]) -> int:
    rows = len(coded[0].labels) if coded else 1
    return int(np.linalg.matrix_rank(np.concatenate([np.ones((rows, 1)), *(each.columns for each in coded)], axis=1)))


def _binned(name: str, numbers: Array) -> Coded:
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, BINS + 1), method="nearest"))
    place = np.clip(np.searchsorted(edges, numbers, side="left") - 1, 0, len(edges) - 2)
    spans = [numbers[known & (place == bin_)] for bin_ in range(len(edges) - 1)]
    words = [_word(float(span.min())) + " to " + _word(float(span.max())) for span in spans]
    return Coded(name, tuple(words), tuple(words[at] if known[row] else None for row, at in enumerate(place)))


def _unset(value: object) -> bool:
    return value is None or (isinstance(value, float) and not np.isfinite(value)) or value is pd.NA


def _word(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
