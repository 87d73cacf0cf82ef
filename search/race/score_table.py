"""The facts that every policy decides from; nothing here is derived by a policy."""

import math
import re
from collections.abc import Iterator, Mapping

from search.messages import Entrant, Job, Report
from trainable.errors import UserError

Cell = tuple[str, int]
CONFIG_ID = re.compile(r"[A-Za-z0-9][\w-]*")  # also the name of the config's folder


class ScoreTable:
    """Configs in the order of arrival, the curve of every fold trial, and the outstanding jobs.

    Neither the order of the reports nor their repetition makes a difference. Higher scores are better here: those of a
    metric to ``minimize`` are negated when they are recorded, and ``shown`` undoes it for people. ``usual`` has the
    defaults of parameters; of equal configs, the one with fewer other values is preferred.
    """

    def __init__(self, folds: int, budget: float | None = None) -> None:
        if folds < 1:
            raise UserError(f"folds = {folds}: must be at least 1")
        if budget is not None and not budget >= 0:
            raise UserError(f"budget = {budget}: must be GPU-seconds, 0 or more")
        self.folds = folds
        self.budget = budget
        self.minimize = False
        self.usual: Mapping[str, object] = {}
        self.entrants: dict[str, Entrant] = {}
        self.outstanding: dict[Cell, Job] = {}
        self.failed: dict[str, Cell] = {}
        self._curves: dict[Cell, dict[int, float]] = {}
        # Whole microseconds, so that sums do not depend on the order of the reports.
        self._microseconds: dict[Cell, int] = {}
        self._gpu_microseconds: dict[Cell, int] = {}
        self._spent = 0

    def add(self, entrant: Entrant) -> None:
        """Add a config. Adding it again has no effect, because equal configs have the same id."""
        if not CONFIG_ID.fullmatch(entrant.config):
            raise UserError(
                f"config {entrant.config!r}: not a valid config id (letters, digits, _ and -, first a letter or digit)"
            )
        self.entrants.setdefault(entrant.config, entrant)

    def record(self, report: Report) -> bool:
        """Record a report; return False for a repeated one. The first report of a (config, fold, step) counts."""
        cell = (report.config, report.fold)
        self._check(report)
        curve = self._curves.get(cell)
        if curve is None:
            curve = self._curves[cell] = {}
        elif report.step in curve:
            return False
        curve[report.step] = self.shown(report.score)
        before, now = self._microseconds.get(cell, 0), round(report.seconds * 1e6)
        if now > before:
            self._microseconds[cell] = now
            spent = now - before if report.gpus == 1.0 else round((now - before) * report.gpus)
            self._gpu_microseconds[cell] = self._gpu_microseconds.get(cell, 0) + spent
            self._spent += spent
        if not math.isfinite(report.score):
            self.failed[report.config] = min(cell, self.failed.get(report.config, cell))
        return True

    def spend(self, gpu_seconds: float) -> None:
        """Count GPU-seconds that belong to no report, such as those of pre-training."""
        self._spent += round(gpu_seconds * 1e6)

    def shown(self, score: float) -> float:
        """A score in the direction of the metric, and back."""
        return -score if self.minimize else score

    def score(self, config: str, fold: int, step: int) -> float | None:
        """The score at a step. A fold trial that ended early has its last score at the steps that it skipped."""
        curve = self._curves.get((config, fold))
        if curve is None:
            return None
        score = curve.get(step)
        return curve.get(self.entrants[config].horizon) if score is None else score

    def full(self, config: str, fold: int) -> float | None:
        """The score at the horizon."""
        return self.score(config, fold, self.entrants[config].horizon)

    def curve(self, config: str, fold: int) -> dict[int, float]:
        return self._curves.get((config, fold), {})

    def scores(self, config: str) -> list[float]:
        """The full-length scores in the order of the folds, without missing ones."""
        return [score for fold in range(self.folds) if (score := self.full(config, fold)) is not None]

    def seconds(self, config: str, fold: int) -> float:
        """The training time of a fold trial."""
        return self._microseconds.get((config, fold), 0) / 1e6

    def gpu_seconds(self, config: str, fold: int) -> float:
        """The training time of a fold trial, times its share of a GPU."""
        return self._gpu_microseconds.get((config, fold), 0) / 1e6

    @property
    def started_trials(self) -> int:
        """The number of fold trials that have reported or are outstanding."""
        return len(self._curves) + sum(cell not in self._curves for cell in self.outstanding)

    def complete(self, config: str) -> bool:
        return config not in self.failed and len(self.scores(config)) == self.folds

    def open_folds(self, config: str) -> list[int]:
        """The folds that have steps left and no outstanding job."""
        folds = (fold for fold in range(self.folds) if (config, fold) not in self.outstanding)
        return [fold for fold in folds if self.full(config, fold) is None]

    def busy(self, config: str) -> bool:
        """Whether a fold of this config is being trained."""
        return any((config, fold) in self.outstanding for fold in range(self.folds))

    def alive(self) -> Iterator[Entrant]:
        """Every config that has not failed, in the order of arrival."""
        return (entrant for name, entrant in self.entrants.items() if name not in self.failed)

    @property
    def spent(self) -> float:
        """GPU-seconds of all fold trials and their pre-training."""
        return self._spent / 1e6

    @property
    def exhausted(self) -> bool:
        return self.budget is not None and self.spent >= self.budget

    def check_fold(self, config: str, fold: object) -> None:
        if type(fold) is not int or not 0 <= fold < self.folds:
            raise UserError(f"config {config!r}: fold {fold!r} is not 0 to {self.folds - 1}")

    def _check(self, report: Report) -> None:
        if report.config not in self.entrants:
            raise UserError(f"report of config {report.config!r}: no such config was added")
        if report.step not in self.entrants[report.config].steps:
            raise UserError(f"report of config {report.config!r}: step {report.step} is none of its report steps")
        self.check_fold(report.config, report.fold)
