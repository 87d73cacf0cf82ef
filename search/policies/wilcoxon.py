"""A baseline: Optuna's Wilcoxon pruner over folds, which prunes configs significantly worse than the best."""

from collections.abc import Callable, Iterable
from functools import cache
from statistics import fmean

from search.messages import Entrant
from search.policies.fold_by_fold import FoldByFold


class Wilcoxon(FoldByFold):
    """A signed-rank test on the folds that both have, from the second fold on, with Optuna's default threshold.

    The smallest p-value is 1/8 with three folds and 1/16 with four, so at 0.1 no config is pruned before fold 4.
    """

    def __init__(
        self, entrants: Iterable[Entrant], folds: int, budget: float | None = None, threshold: float = 0.1
    ) -> None:
        self.threshold = threshold
        super().__init__(entrants, folds, budget)

    def pruner(self) -> Callable[[list[float]], bool]:
        best = max(self.complete(), key=fmean, default=None)
        return lambda scores: best is not None and self._worse(scores, best)

    def _worse(self, scores: list[float], best: list[float]) -> bool:
        """As in Optuna, a config with the higher mean is never pruned, whatever the test says."""
        if len(scores) < 2 or fmean(scores) >= fmean(best):
            return False
        return _p_value(tuple(score - other for score, other in zip(scores, best, strict=False))) < self.threshold


@cache  # slow, and called for every free worker
def _p_value(differences: tuple[float, ...]) -> float:
    from scipy.stats import wilcoxon  # late: slow to import

    return float(wilcoxon(differences, alternative="less", zero_method="zsplit").pvalue)
