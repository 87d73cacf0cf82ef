"""The score table as arrays: one row per config in the order of arrival, updated with every report."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from search.messages import Entrant, Report
from search.race.mixed_model import Array, Table
from search.race.score_table import ScoreTable

# Main effects are estimated for parameters with at most this many values and at least this many configs per value.
MAX_LEVELS = 12
MIN_CONFIGS = 3
SHAPES = 2  # numbers that describe the shape of a curve before a rung


class ScoreMatrix:
    """Scores at full length and at the rungs (configs x folds, NaN where unknown), and the block of each config."""

    def __init__(self, score_table: ScoreTable, rungs: tuple[float, ...]) -> None:
        self.score_table, self.rungs = score_table, rungs
        self.names: list[str] = []
        self.row: dict[str, int] = {}
        self.steps: list[tuple[int, ...]] = []  # the steps of the rungs, then the horizon
        self._blocks: dict[tuple[int, ...], int] = {}
        self._block: list[int] = []
        self._scores = np.full((len(rungs) + 1, 64, score_table.folds), np.nan)
        self._skipped = np.zeros(self._scores.shape, dtype=bool)
        self._shapes = np.zeros((len(rungs), 64, SHAPES))
        self.failed = score_table.failed
        self._designs: dict[int, Array] = {}  # the latest, by number of configs; shared with snapshots

    def add(self, entrant: Entrant) -> None:
        if entrant.config in self.row:
            return
        self.row[entrant.config] = len(self.names)
        self.names.append(entrant.config)
        self._block.append(self._blocks.setdefault(entrant.steps, len(self._blocks)))
        self.steps.append((*(entrant.step_at(rung) for rung in self.rungs), entrant.horizon))
        if len(self.names) > self._scores.shape[1]:
            more = self._scores.shape[1]
            self._scores = np.pad(self._scores, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
            self._skipped = np.pad(self._skipped, ((0, 0), (0, more), (0, 0)))
            self._shapes = np.pad(self._shapes, ((0, 0), (0, more), (0, 0)))

    def update(self, report: Report) -> bool:
        """Enter a report of the score table; return whether it may change the state of the race."""
        row, curve = self.row[report.config], self.score_table.curve(report.config, report.fold)
        steps = self.steps[row]
        changed = report.config in self.score_table.failed
        if changed:
            self._scores[:, row] = np.nan
        for index, step in enumerate(steps):
            if report.step in (step, steps[-1]) and not changed:
                self._scores[index, row, report.fold] = self.score_table.score(report.config, report.fold, step)
                self._skipped[index, row, report.fold] = step not in curve
        for index, step in enumerate(steps[:-1]):
            reported = np.isfinite(self._scores[index, row, 0]) and not self._skipped[index, row, 0]
            if report.fold == 0 and report.step <= step and reported:
                self._shapes[index, row] = self._shape(report.config, step)
                changed = True
        return changed or report.step in steps

    def snapshot(self) -> ScoreMatrix:
        """A copy that later updates do not change."""
        taken = copy(self)
        taken.names, taken.steps, taken._block = self.names[:], self.steps[:], self._block[:]
        taken.failed = dict(self.failed)
        taken._scores, taken._shapes, taken._skipped = self._scores.copy(), self._shapes.copy(), self._skipped.copy()
        return taken

    @property
    def full(self) -> Array:
        return self._scores[-1, : len(self.names)]

    def at_rung(self, index: int) -> Array:
        """The scores at a rung; the index after the last rung is the full length.

        A fold trial that ended early before a rung has its last score there.
        """
        return self._scores[index, : len(self.names)]

    def reported_at_rung(self, index: int) -> Array:
        """The scores at a rung without those of fold trials that ended before it, of which no gain is known."""
        return np.where(self._skipped[index, : len(self.names)], np.nan, self.at_rung(index))

    def shapes(self, index: int) -> Array:
        return self._shapes[index, : len(self.names)]

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
        """Indicator columns for the main effects: one for each value of each parameter with few values."""
        count = len(self.names)
        if count not in self._designs:
            columns = [column for name in self._parameters() for column in self._indicators(name)]
            self._designs.clear()
            self._designs[count] = np.array(columns, dtype=float).reshape(len(columns), count).T
        return self._designs[count]

    def full_table(self, with_design: bool = True) -> Table:
        """The full-length scores for the mixed model, with or without main effects of the parameters."""
        design = self.design if with_design else np.zeros((len(self.names), 0))
        return Table(self.full, np.zeros_like(self.full), design)

    def levels(self, parameter: str) -> list[str]:
        return [str(self.score_table.entrants[name].parameters.get(parameter)) for name in self.names]

    def _parameters(self) -> list[str]:
        return sorted({key for name in self.names for key in self.score_table.entrants[name].parameters})

    def _indicators(self, parameter: str) -> list[list[bool]]:
        values = self.levels(parameter)
        levels = sorted(set(values))
        few = 2 <= len(levels) <= MAX_LEVELS and len(levels) * MIN_CONFIGS <= len(values)
        return [[value == level for value in values] for level in levels] if few else []

    def _shape(self, config: str, rung: int) -> tuple[float, float]:
        """The last gain before the rung and the one before it; means over several steps make single evaluations matter
        little.
        """
        curve = self.score_table.curve(config, 0)
        late = [curve[step] for step in sorted(curve) if 0.8 * rung <= step < rung]
        early = [curve[step] for step in sorted(curve) if 0.5 * rung <= step < 0.8 * rung]
        if not late or not early:
            return (0.0, 0.0)
        late_mean = sum(late) / len(late)
        return (curve[rung] - late_mean, late_mean - sum(early) / len(early))


def matrix_of(score_table: ScoreTable, rungs: tuple[float, ...] = ()) -> ScoreMatrix:
    """The score matrix of everything in a score table."""
    matrix = ScoreMatrix(score_table, rungs)
    for entrant in score_table.entrants.values():
        matrix.add(entrant)
    for row, config in enumerate(matrix.names):
        for fold in range(score_table.folds):
            curve = score_table.curve(config, fold)
            for step in matrix.steps[row] if curve else ():
                if step in curve:
                    matrix.update(Report(config, fold, step, curve[step], 0.0))
    return matrix
