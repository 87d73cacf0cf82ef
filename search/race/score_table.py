"""The score board: the facts that every policy decides from, and nothing that follows from them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from search.messages import Entrant, Job, Report
from trainable.errors import UserError

Cell = tuple[str, int]
NAME = re.compile(r"[A-Za-z0-9][\w-]*")  # what a config may be called: its folder is called the same


class ScoreTable:
    """Configs in the order they came, the curve of every fold trial, and the jobs that are out.

    It is a set of facts: the order in which reports arrive, and how often each does, leave no trace.
    """

    def __init__(self, folds: int, budget: float | None = None) -> None:
        if folds < 1:
            raise UserError(f"folds = {folds}: must be at least 1")
        if budget is not None and not budget >= 0:
            raise UserError(f"budget = {budget}: must be GPU-seconds, 0 or more")
        self.folds = folds
        self.budget = budget
        self.entrants: dict[str, Entrant] = {}
        self.outstanding: dict[Cell, Job] = {}
        self.failed: dict[str, Cell] = {}
        self._curves: dict[Cell, dict[int, float]] = {}
        self._microseconds: dict[Cell, int] = {}  # of each fold trial
        self._taken: dict[Cell, int] = {}  # the same, of a whole GPU
        self._spent = 0

    def add(self, entrant: Entrant) -> None:
        """A config that is known already changes nothing: equal configs are one config."""
        if not NAME.fullmatch(entrant.config):
            raise UserError(f"config {entrant.config!r}: is no id of a config, and no name for a folder")
        self.entrants.setdefault(entrant.config, entrant)

    def record(self, report: Report) -> bool:
        """Write a report down; False where it was known. The first report of a (config, fold, step)
        stands.
        """
        cell = (report.config, report.fold)
        self._check(report)
        curve = self._curves.get(cell)
        if curve is None:
            curve = self._curves[cell] = {}
        elif report.step in curve:
            return False
        curve[report.step] = report.score
        before, now = self._microseconds.get(cell, 0), round(report.seconds * 1e6)
        if now > before:
            self._microseconds[cell] = now
            taken = now - before if report.gpus == 1.0 else round((now - before) * report.gpus)
            self._taken[cell] = self._taken.get(cell, 0) + taken
            self._spent += taken
        if not math.isfinite(report.score):
            self.failed[report.config] = min(cell, self.failed.get(report.config, cell))
        return True

    def score(self, config: str, fold: int, step: int) -> float | None:
        """The score at exactly this step of this fold; other folds and other steps say nothing."""
        curve = self._curves.get((config, fold))
        return None if curve is None else curve.get(step)

    def full(self, config: str, fold: int) -> float | None:
        return self.score(config, fold, self.entrants[config].horizon)

    def curve(self, config: str, fold: int) -> dict[int, float]:
        return self._curves.get((config, fold), {})

    def scores(self, config: str) -> list[float]:
        """The full-length scores of the folds that have one, in the order of the folds."""
        return [score for fold in range(self.folds) if (score := self.full(config, fold)) is not None]

    def seconds(self, config: str, fold: int) -> float:
        """By the clock of a fold trial."""
        return self._microseconds.get((config, fold), 0) / 1e6

    def gpu_seconds(self, config: str, fold: int) -> float:
        """Spent on a fold trial: its seconds, times its share of a GPU."""
        return self._taken.get((config, fold), 0) / 1e6

    @property
    def started_trials(self) -> int:
        """Fold trials that have reported, or are out."""
        return len(self._curves) + sum(cell not in self._curves for cell in self.outstanding)

    def complete(self, config: str) -> bool:
        return config not in self.failed and len(self.scores(config)) == self.folds

    def open_folds(self, config: str) -> list[int]:
        """The folds that still lack steps and that nobody is training."""
        return [
            fold
            for fold in range(self.folds)
            if (config, fold) not in self.outstanding and self.full(config, fold) is None
        ]

    def busy(self, config: str) -> bool:
        """Whether somebody trains a fold of it."""
        return any((config, fold) in self.outstanding for fold in range(self.folds))

    def alive(self) -> Iterator[Entrant]:
        """Every config that has not failed, in the order of their arrival."""
        return (entrant for name, entrant in self.entrants.items() if name not in self.failed)

    @property
    def spent(self) -> float:
        """GPU-seconds of all fold trials; counted in whole microseconds, so that no order of adding them
        matters.
        """
        return self._spent / 1e6

    @property
    def exhausted(self) -> bool:
        return self.budget is not None and self.spent >= self.budget

    def _check(self, report: Report) -> None:
        if report.config not in self.entrants:
            raise UserError(f"report of config {report.config!r}: no such config was added")
        if report.step not in self.entrants[report.config].steps:
            raise UserError(f"report of config {report.config!r}: step {report.step} is none of its report steps")
        self.check_fold(report.config, report.fold)

    def check_fold(self, config: str, fold: object) -> None:
        if type(fold) is not int or not 0 <= fold < self.folds:
            raise UserError(f"config {config!r}: fold {fold!r} is not 0 to {self.folds - 1}")
