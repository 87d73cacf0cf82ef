"""Expected means over all folds, and each config's chance to beat the leader."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.race.mixed_model import Array, Prior, Table, fit

CAUTION = 0.0


@dataclass(frozen=True)
class Standings:
    """Arrays with one entry per config: the expected mean over all folds, and the chance to beat the leader's.

    The leader is the best of the candidates; its own chance is 1.
    """

    leader: int
    candidates: NDArray[np.bool_]
    mean: Array
    chance: Array


def compare(table: Table, prior: Prior, candidates: NDArray[np.bool_], on_any_folds: bool = False) -> Standings:
    """Compare the means over these folds, as the full grid would: known scores are certain.

    With ``on_any_folds``, known scores are only evidence of which config is better on other folds of the same data.
    """
    model = fit(table, prior, CAUTION)
    noise = model.noise
    trust = np.where(table.known & (not on_any_folds), noise[:, None] / (noise[:, None] + table.extra), 0.0)
    folds = trust.shape[1]
    ones = np.ones(folds)
    unknown = 1.0 - (trust @ ones) / folds
    rows = np.concatenate([(1.0 - trust) / folds, unknown[:, None] * table.design], axis=1)
    known_part = (trust * np.where(table.known, table.scores, 0.0)) @ ones / folds
    mean = known_part + rows @ model.shared + unknown * model.rest
    leader = int(np.argmax(np.where(candidates, mean, -np.inf)))
    rows += unknown[:, None] * model.loading
    own = unknown**2 * model.rest_variance
    if not on_any_folds:
        own = own + unknown * noise / folds
    variance = model.spread(rows - rows[leader]) + own + own[leader]
    chance = _normal_cdf((mean - mean[leader]) / np.sqrt(np.maximum(variance, 1e-9 * prior.variances.noise)))
    chance[leader] = 1.0
    return Standings(leader, candidates, mean, chance)


def _normal_cdf(values: Array) -> Array:
    """The standard normal distribution; ``scipy.special`` has it, but takes half a second to load."""
    return np.array([0.5 * math.erfc(-value) for value in (values / math.sqrt(2)).tolist()])
