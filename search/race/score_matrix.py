"""The board as arrays: one row per config in the order of arrival, kept up to date report by report."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from search.messages import Entrant, Report
from search.race.mixed_model import Array
from search.race.score_table import ScoreTable

MOST_LEVELS = 12  # a parameter with more values than this, or hardly a config for each, is not pooled over
FEWEST_CONFIGS = 3
SHAPES = 2  # numbers that tell the shape of a curve before a rung


class ScoreMatrix:
    """Full-length scores and scores at the rungs (configs x folds, NaN where unknown), and who is in which
    block.
    """

    def __init__(self, score_table: ScoreTable, rungs: tuple[float, ...]) -> None:
        self.score_table, self.rungs = score_table, rungs
        self.names: list[str] = []
        self.row: dict[str, int] = {}
        self.steps: list[tuple[int, ...]] = []  # the rungs' steps, then the horizon
        self._blocks: dict[tuple[int, ...], int] = {}
        self._block: list[int] = []
        self._scores = np.full((len(rungs) + 1, 64, score_table.folds), np.nan)
        self._shapes = np.zeros((len(rungs), 64, SHAPES))
        self.failed = score_table.failed
        self._designs: dict[int, Array] = {}  # the newest only, by the number of configs; shared with what is frozen

    def add(self, entrant: Entrant) -> None:
        if entrant.config in self.row:
            return
        self.row[entrant.config] = len(self.names)
        self.names.append(entrant.config)
        self._block.append(self._blocks.setdefault(entrant.steps, len(self._blocks)))
        self.steps.append((*(entrant.step_at(rung) for rung in self.rungs), entrant.horizon))
        if len(self.names) > self._scores.shape[1]:
            grow = self._scores.shape[1]
            self._scores = np.pad(self._scores, ((0, 0), (0, grow), (0, 0)), constant_values=np.nan)
            self._shapes = np.pad(self._shapes, ((0, 0), (0, grow), (0, 0)))

    def write(self, report: Report) -> bool:
        """Whether the report changed what the race is decided from."""
        row = self.row[report.config]
        steps = self.steps[row]
        changed = report.config in self.score_table.failed
        if changed:
            self._scores[:, row] = np.nan
        for place, step in enumerate(steps):
            if report.step == step and not changed:
                self._scores[place, row, report.fold] = report.score
        for place, step in enumerate(steps[:-1]):
            if report.fold == 0 and report.step <= step and np.isfinite(self._scores[place, row, 0]):
                self._shapes[place, row] = self._shape(report.config, step)
                changed = True
        return changed or report.step in steps

    def snapshot(self) -> ScoreMatrix:
        """The sheet as it stands now, whatever is written on this one later."""
        still = copy(self)
        still.names, still.steps, still._block = self.names[:], self.steps[:], self._block[:]
        still.failed = dict(self.failed)
        still._scores, still._shapes = self._scores.copy(), self._shapes.copy()
        return still

    @property
    def full(self) -> Array:
        return self._scores[-1, : len(self.names)]

    def at(self, place: int) -> Array:
        """The scores at the rung of this place; after the last rung comes the full length."""
        return self._scores[place, : len(self.names)]

    def shapes(self, place: int) -> Array:
        return self._shapes[place, : len(self.names)]

    @property
    def blocks(self) -> NDArray[np.int_]:
        return np.array(self._block, dtype=int)

    @property
    def alive(self) -> NDArray[np.bool_]:
        alive = np.ones(len(self.names), dtype=bool)
        alive[[self.row[config] for config in self.failed]] = False
        return alive

    @property
    def design(self) -> Array:
        """A column for every value of every parameter that has few: the main effects that configs share."""
        count = len(self.names)
        if count not in self._designs:
            columns = [column for name in self._parameters() for column in self._indicators(name)]
            self._designs.clear()
            self._designs[count] = np.array(columns, dtype=float).reshape(len(columns), count).T
        return self._designs[count]

    def levels(self, parameter: str) -> list[str]:
        return [str(self.score_table.entrants[name].parameters.get(parameter)) for name in self.names]

    def _parameters(self) -> list[str]:
        return sorted({key for name in self.names for key in self.score_table.entrants[name].parameters})

    def _indicators(self, parameter: str) -> list[list[bool]]:
        values = self.levels(parameter)
        known = sorted(set(values))
        few = 2 <= len(known) <= MOST_LEVELS and len(known) * FEWEST_CONFIGS <= len(values)
        return [[value == level for value in values] for level in known] if few else []

    def _shape(self, config: str, rung: int) -> tuple[float, float]:
        """The climb into the rung and the climb before it, from means so that single evaluations matter
        little.
        """
        curve = self.score_table.curve(config, 0)
        late = [curve[step] for step in sorted(curve) if 0.8 * rung <= step < rung]
        early = [curve[step] for step in sorted(curve) if 0.5 * rung <= step < 0.8 * rung]
        if not late or not early:
            return (0.0, 0.0)
        before = sum(late) / len(late)
        return (curve[rung] - before, before - sum(early) / len(early))
