"""Parameters as columns of a linear model, and which of their effects the configs can separate."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd

from search.race.mixed_model import Array
from trainable.printing import value_text

MAX_LEVELS = 6  # a numeric parameter with more values is binned, with equally many configs in each bin
BINS = 3  # enough to find an optimum in the middle of a range, which a slope would miss


@dataclass(frozen=True)
class CodedParameter:
    """A parameter in sum coding: effects add up to 0 over the levels. A config in which a conditional parameter is not
    set has zeros, which separates the parameter from the one that it depends on.
    """

    name: str
    levels: tuple[str, ...]
    row_levels: tuple[str | None, ...]  # of each config; None where not set

    @property
    def contrasts(self) -> Array:
        """Levels x columns."""
        return np.concatenate([np.eye(len(self.levels) - 1), -np.ones((1, len(self.levels) - 1))])

    @property
    def columns(self) -> Array:
        rows = dict(zip(self.levels, self.contrasts, strict=True))
        unset = np.zeros(len(self.levels) - 1)
        return np.array([unset if level is None else rows[level] for level in self.row_levels])

    def has(self, level: str) -> list[bool]:
        return [each == level for each in self.row_levels]


def code_parameter(name: str, values: Sequence[object]) -> CodedParameter:
    """Levels of numbers are sorted; others keep their order in the run."""
    present = [value for value in values if not _unset(value)]
    numeric = bool(present) and all(isinstance(value, Real) and not isinstance(value, bool) for value in present)
    if numeric and len(set(present)) > MAX_LEVELS:
        return _binned(name, np.array([np.nan if _unset(value) else value for value in values], dtype=float))
    row_levels = tuple(None if _unset(value) else value_text(value) for value in values)
    ordered = sorted(present, key=float) if numeric else present  # type: ignore[arg-type]
    return CodedParameter(name, tuple(dict.fromkeys(value_text(value) for value in ordered)), row_levels)


def confounded_parameters(coded: Sequence[CodedParameter]) -> dict[str, str]:
    """The parameters whose effects cannot be separated from those of others, each with the reason."""
    found = {}
    for one in coded:
        others = [each for each in coded if each is not one]
        if _rank([one, *others]) - _rank(others) == len(one.levels) - 1:
            continue
        partners = [each.name for each in others if _rank([one, each]) < len(one.levels) + len(each.levels) - 1]
        partner = " or ".join(partners) or "the other parameters combined"
        found[one.name] = f"{one.name} cannot be separated from {partner}"
    return found


def _rank(coded: Sequence[CodedParameter]) -> int:
    rows = len(coded[0].row_levels) if coded else 1
    return int(np.linalg.matrix_rank(np.concatenate([np.ones((rows, 1)), *(each.columns for each in coded)], axis=1)))


def _binned(name: str, numbers: Array) -> CodedParameter:
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, BINS + 1), method="nearest"))
    place = np.clip(np.searchsorted(edges, numbers, side="left") - 1, 0, len(edges) - 2)
    spans = [numbers[known & (place == bin_)] for bin_ in range(len(edges) - 1)]
    texts = [value_text(float(span.min())) + " to " + value_text(float(span.max())) for span in spans]
    return CodedParameter(name, tuple(texts), tuple(texts[at] if known[row] else None for row, at in enumerate(place)))


def _unset(value: object) -> bool:
    return value is None or (isinstance(value, float) and not np.isfinite(value)) or value is pd.NA
