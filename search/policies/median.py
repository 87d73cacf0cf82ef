"""A baseline: Optuna's median rule over folds. After each fold, a config below the median of the complete ones stops."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from search.answer import best_complete
from search.policy import Policy
from search.words import Answer, Entrant, Job, Report


class Median(Policy):
    """Config after config, as Optuna's trials come; the first ``startup`` complete configs are spared."""

    def __init__(
        self, entrants: Iterable[Entrant], folds: int, budget: float | None = None, startup: int = 5
    ) -> None:
        self.startup = startup
        super().__init__(entrants, folds, budget)

    def choose(self) -> Job | None:
        complete = [e.config for e in self.board.standing() if self.board.complete(e.config)]
        for entrant in self.board.standing():
            out = any((entrant.config, fold) in self.board.out for fold in range(self.board.folds))
            if not out and self._above(entrant.config, complete):
                for fold in self.board.open_folds(entrant.config)[:1]:
                    return Job(entrant.config, fold, entrant.horizon)
        return None

    def judge(self, report: Report) -> str | None:
        return None

    def answer(self) -> Answer:
        return best_complete(self.board)

    def _above(self, config: str, complete: list[str]) -> bool:
        scores = self.board.scores(config)
        if not scores or len(complete) < self.startup:
            return True
        best = max(_mean(scores[:count]) for count in range(1, len(scores) + 1))
        return best >= median(_mean(self.board.scores(other)[: len(scores)]) for other in complete)


def _mean(scores: list[float]) -> float:
    return sum(scores) / len(scores)
