"""A baseline: Optuna's median pruner over folds, which prunes configs below the median of the complete ones."""

from collections.abc import Callable, Iterable
from statistics import fmean, median

from search.messages import Entrant
from search.policies.fold_by_fold import FoldByFold


class Median(FoldByFold):
    """As in Optuna, the best running mean counts; with fewer than ``startup`` complete configs none is pruned."""

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
