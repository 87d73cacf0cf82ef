"""What the race assumes of noise and spread before it has seen them: shares of how far apart the configs are."""

import numpy as np

from search.race.mixed_model import Array, Prior, Variances
from search.race.score_matrix import ScoreMatrix

NOISE, EFFECT = 0.85, 1 / 3  # standard deviations of fold trials and of main effects, relative to that between configs
MIN_CONFIGS = 3  # to tell how far apart configs are


def relative_prior(matrix: ScoreMatrix) -> Prior:
    """The spread is that of the configs that finished fold 0, or before that of those at the last rung that enough
    reached. The worst have been paused by then, so that it is about the configs that matter. Scores on another scale
    lead to the same prior on that scale.
    """
    stages = [column[np.isfinite(column)] for column in (matrix.at_rung(i)[:, 0] for i in range(len(matrix.rungs) + 1))]
    usable = [stage for stage in stages if len(stage) >= MIN_CONFIGS]
    spread = robust_spread(usable[-1]) if usable else 0.0
    if not spread:
        known = matrix.full[np.isfinite(matrix.full)]
        spread = (float(known.std()) if len(known) else 0.0) or 1.0
    return Prior(Variances((NOISE * spread) ** 2, spread**2, (EFFECT * spread) ** 2))


def robust_spread(scores: Array) -> float:
    """The standard deviation by the median deviation, which a few configs that learned nothing do not change."""
    return 1.4826 * _median(np.abs(scores - _median(scores))) or float(scores.std())


def _median(values: Array) -> float:
    """As ``np.median``, in a fraction of its time for a few values."""
    ordered, middle = np.sort(values), len(values) // 2
    return float(ordered[middle] + ordered[-middle - 1]) / 2
