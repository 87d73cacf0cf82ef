"""A baseline: Optuna's median rule over folds. A config below the median of the complete ones stops."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean, median

from search.answer import best_complete
from search.policy import Policy
from search.words import Answer, Entrant, Job, Report


class Median(Policy):
    """Config after config, as Optuna's trials come; while few are complete, all are spared."""

    def __init__(self, entrants: Iterable[Entrant], folds: int, budget: float | None = None, startup: int = 5) -> None:
        self.startup = startup
        super().__init__(entrants, folds, budget)

    def choose(self) -> Job | None:
        busy = {config for config, _ in self.board.out}
        medians = self._medians()
        for entrant in self.board.standing():
            if entrant.config not in busy and self._above(entrant.config, medians):
                for fold in self.board.open_folds(entrant.config)[:1]:
                    return Job(entrant.config, fold, entrant.horizon)
        return None

    def judge(self, report: Report) -> str | None:
        return None

    def answer(self) -> Answer:
        return best_complete(self.board)

    def _medians(self) -> list[float]:
        """Of the complete configs' running means, after each count of folds; none while all are spared."""
        complete = [entrant.config for entrant in self.board.standing() if self.board.complete(entrant.config)]
        if len(complete) < self.startup:
            return []
        scores = [self.board.scores(config) for config in complete]
        return [median(fmean(each[: fold + 1]) for each in scores) for fold in range(self.board.folds)]

    def _above(self, config: str, medians: list[float]) -> bool:
        scores = self.board.scores(config)
        if not scores or not medians:
            return True
        return max(fmean(scores[: fold + 1]) for fold in range(len(scores))) >= medians[len(scores) - 1]
