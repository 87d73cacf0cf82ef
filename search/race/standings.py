"""Where every config stands: what all its folds are expected to give, and its chance to beat the leader."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.race.mixed_model import Array, Prior, Table, fit

CAUTION = 0.25  # standard errors by which the noise is taken too high rather than too low


@dataclass(frozen=True)
class Standings:
    """One entry per config: what it gives on average, and the chance that this is more than the leader gives.

    The leader is the best of the candidates; its own chance is 1.
    """

    leader: int
    candidates: NDArray[np.bool_]
    mean: Array
    chance: Array


def compare(table: Table, prior: Prior, candidates: NDArray[np.bool_], on_any_folds: bool = False) -> Standings:
    """Compare the means over these folds, of which what was seen is certain: what would the full grid pick?

    ``beyond`` these folds, what was seen is only evidence: which config is better, whatever the folds?
    """
    model = fit(table, prior, CAUTION)
    noise = model.variances.noise
    trust = np.where(table.known & (not on_any_folds), noise / (noise + table.extra), 0.0)
    folds = trust.shape[1]
    across = np.ones(folds)
    unseen = 1.0 - (trust @ across) / folds
    rows = np.concatenate([(1.0 - trust) / folds, unseen[:, None] * table.design], axis=1)
    seen = (trust * np.where(table.known, table.scores, 0.0)) @ across / folds
    mean = seen + rows @ model.shared + unseen * model.rest
    leader = int(np.argmax(np.where(candidates, mean, -np.inf)))
    rows += unseen[:, None] * model.loading
    own = unseen**2 * model.rest_variance
    if not on_any_folds:
        own = own + unseen * noise / folds
    variance = model.spread(rows - rows[leader]) + own + own[leader]
    chance = _normal_cdf((mean - mean[leader]) / np.sqrt(np.maximum(variance, 1e-12)))
    chance[leader] = 1.0
    return Standings(leader, candidates, mean, chance)


def _normal_cdf(values: Array) -> Array:
    """The standard normal distribution; ``scipy.special`` has it, but takes half a second to load."""
    return np.array([0.5 * math.erfc(-value) for value in (values / math.sqrt(2)).tolist()])
