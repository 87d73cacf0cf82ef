"""Paired tests of two configs on their common folds: is the difference significant, and is it relevant?

The folds of a cross-validation share training images, so their differences are correlated and an ordinary t-test
rejects far too often. Both tests here correct the variance of the mean difference for this correlation.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from trainable.printing import digits

ROPE = 0.005  # smaller differences are practically irrelevant
LEVEL = 0.95


@dataclass(frozen=True)
class PairedTest:
    """``config`` minus ``other``: the mean difference on ``folds`` common folds, and the results of both tests.

    ``low`` to ``high``, ``t`` and ``p`` are those of the corrected resampled t-test (Nadeau and Bengio 2003); ``left``,
    ``rope`` and ``right`` those of the Bayesian correlated t-test (Corani and Benavoli 2015): the probabilities that
    ``other`` is better, that both are practically equivalent, and that ``config`` is better. NaN with fewer than two
    common folds.
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
    def summary(self) -> str:
        if self.folds < 2:
            common = "only one fold" if self.folds else "no fold"
            return f"no test: {self.config} and {self.other} have {common} in common"
        probabilities = {f"{self.other} is better": self.left, f"{self.config} is better": self.right}
        probabilities[f"they differ by less than {ROPE:g}"] = self.rope
        statement = max(probabilities, key=lambda each: probabilities[each])
        probability = digits(probabilities[statement])
        return f"{statement} with probability {probability}, on {self.folds} folds (p = {digits(self.p)})"


def paired_test(full: pd.DataFrame, config: str, other: str, rope: float = ROPE, minimize: bool = False) -> PairedTest:
    """``full`` holds full-length scores, configs x folds, with a column for every fold of the run; ``minimize`` if
    lower ones are better.

    With k folds the ratio of test to training images is 1 / (k - 1), which equals rho / (1 - rho) for the correlation
    rho = 1 / k of Corani and Benavoli: both tests use the same t distribution.
    """
    differences = (full.loc[config] - full.loc[other]).dropna().to_numpy(dtype=float)
    count, folds = len(differences), full.shape[1]
    mean = float(differences.mean()) if count else float("nan")
    if count < 2:
        nothing = float("nan")
        return PairedTest(config, other, count, mean, *[nothing] * 7)
    scale = float(differences.std(ddof=1)) * (1 / count + 1 / (folds - 1)) ** 0.5
    scale = max(scale, np.finfo(float).eps)  # equal differences have no variance
    t = mean / scale
    reach = scale * float(stdtrit(count - 1, 0.5 + LEVEL / 2))
    lower, within = (float(stdtr(count - 1, (edge - mean) / scale)) for edge in (-rope, rope))
    higher = float(stdtr(count - 1, (mean - rope) / scale))
    left, right = (higher, lower) if minimize else (lower, higher)
    return PairedTest(
        config,
        other,
        count,
        mean,
        mean - reach,
        mean + reach,
        t,
        2 * float(stdtr(count - 1, -abs(t))),
        left,
        within - lower,
        right,
    )
