"""A baseline: Optuna's median rule over folds. A config below the median of the complete ones stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import fmean, median

from search.messages import Entrant
from search.policies.fold_after_fold import FoldAfterFold


class Median(FoldAfterFold):
    """A config's best running mean counts, as in Optuna; while few configs are complete, all are spared."""

    def __init__(self, entrants: Iterable[Entrant], folds: int, budget: float | None = None, startup: int = 5) -> None:
        self.startup = startup
        super().__init__(entrants, folds, budget)

    def pruner(self) -> Callable[[list[float]], bool]:
        complete = self.complete()
        if len(complete) < self.startup:
            return lambda scores: False
        medians = [median(fmean(each[: fold + 1]) for each in complete) for fold in range(self.score_table.folds)]
        return lambda scores: bool(scores) and _best_so_far(scores) < medians[len(scores) - 1]


def _best_so_far(scores: list[float]) -> float:
    return max(fmean(scores[: fold + 1]) for fold in range(len(scores)))
