"""Two configs on the folds that both have: is the difference more than chance, and does it matter?

The folds of a cross-validation share their training images, so their differences are not independent and an
ordinary t-test is far too sure of itself. Both tests here widen the variance of the mean difference in the same
way, by what the shared images are estimated to cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

ROPE = 0.005  # a difference below this makes no practical difference
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """Of ``config`` with ``other``: the mean of the differences on ``folds`` shared folds, and both tests.

    ``low`` to ``high``, ``t`` and ``p`` are the corrected resampled t-test's (Nadeau and Bengio 2003); ``left``,
    ``rope`` and ``right`` the Bayesian correlated t-test's (Corani and Benavoli 2015): the chances that the other is
    better, that they are practically equivalent, and that the config is better. NaN where they share fewer than
    two folds.
    """

    config: str
    other: str
    folds: int
    difference: float
    low: float
    high: float
    t: float
    p: float
    left: float
    rope: float
    right: float

    @property
    def words(self) -> str:
        if self.folds < 2:
            shared = "only one fold" if self.folds else "no fold"
            return f"cannot be tested: {self.config} and {self.other} share {shared}"
        chances = {f"{self.other} is better": self.left, f"{self.config} is better": self.right}
        chances[f"they differ by less than {ROPE:g}"] = self.rope
        likeliest = max(chances, key=lambda statement: chances[statement])
        return f"{likeliest} with a probability of {chances[likeliest]:.2f}, on {self.folds} folds (p = {self.p:.3f})"


def compare(full: pd.DataFrame, config: str, other: str, rope: float = ROPE) -> Comparison:
    """From the full-length scores, configs x folds with a column for every fold of the run.

    With k folds a test set is 1 / (k - 1) of its training set, which is also rho / (1 - rho) for the correlation
    rho = 1 / k that Corani and Benavoli take: the two tests are one t distribution, asked two questions.
    """
    differences = (full.loc[config] - full.loc[other]).dropna().to_numpy(dtype=float)
    count, folds = len(differences), full.shape[1]
    mean = float(differences.mean()) if count else float("nan")
    if count < 2:
        nothing = float("nan")
        return Comparison(config, other, count, mean, *[nothing] * 7)
    scale = float(differences.std(ddof=1)) * (1 / count + 1 / (folds - 1)) ** 0.5
    scale = max(scale, np.finfo(float).eps)  # equal differences: as sure as numbers can be
    t = mean / scale
    reach = scale * float(stdtrit(count - 1, 0.5 + LEVEL / 2))
    left, within = (float(stdtr(count - 1, (edge - mean) / scale)) for edge in (-rope, rope))
    return Comparison(
        config,
        other,
        count,
        mean,
        mean - reach,
        mean + reach,
        t,
        2 * float(stdtr(count - 1, -abs(t))),
        left,
        within - left,
        float(stdtr(count - 1, (mean - rope) / scale)),
    )
