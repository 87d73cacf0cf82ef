"""Expected means over all folds, and each config's chance to beat the leader."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.race.mixed_model import Array, Fit, Prior, Table, fit

CERTAIN = 1e-9  # of the noise: differences are never known better than this


@dataclass(frozen=True)
class Means:
    """The expected mean of each config over all folds, and what makes up its variance.

    ``combination`` is its derivative with respect to the effects that configs share, ``own`` the variance of the rest.
    """

    model: Fit
    mean: Array
    combination: Array
    own: Array
    least: float  # variance of a difference

    @property
    def sd(self) -> Array:
        return np.asarray(np.sqrt(self.model.spread(self.combination) + self.own))

    def sd_apart(self, other: int) -> Array:
        """The standard deviation of each config's difference to this one."""
        variance = self.model.spread(self.combination - self.combination[other]) + self.own + self.own[other]
        return np.asarray(np.sqrt(np.maximum(variance, self.least)))

    def chance(self, other: int) -> Array:
        """The chance of each config to be better than this one, whose own is 1."""
        chance = _normal_cdf((self.mean - self.mean[other]) / self.sd_apart(other))
        chance[other] = 1.0
        return chance


@dataclass(frozen=True)
class Standings:
    """Arrays with one entry per config: the expected mean over all folds, and the chance to beat the leader's.

    The leader is the best of the candidates; its own chance is 1.
    """

    leader: int
    candidates: NDArray[np.bool_]
    mean: Array
    chance: Array


def compare(table: Table, prior: Prior, candidates: NDArray[np.bool_]) -> Standings:
    """Compare the means over these folds, as the full grid would: known scores are certain."""
    means = expected_means(table, fit(table, prior), prior)
    leader = best_of(means, candidates)
    return Standings(leader, candidates, means.mean, means.chance(leader))


def best_of(means: Means, candidates: NDArray[np.bool_]) -> int:
    return int(np.argmax(np.where(candidates, means.mean, -np.inf)))


def expected_means(table: Table, model: Fit, prior: Prior, on_any_folds: bool = False) -> Means:
    """The means over these folds, of which known scores are certain.

    With ``on_any_folds``, known scores are only evidence of which config is better on other folds of the same data.
    """
    noise = model.noise
    trust = np.where(table.known & (not on_any_folds), noise[:, None] / (noise[:, None] + table.extra), 0.0)
    folds = trust.shape[1]
    ones = np.ones(folds)
    unknown = 1.0 - (trust @ ones) / folds
    rows = np.concatenate([(1.0 - trust) / folds, unknown[:, None] * table.design], axis=1)
    known_part = (trust * np.where(table.known, table.scores, 0.0)) @ ones / folds
    mean = known_part + rows @ model.shared + unknown * model.rest
    rows += unknown[:, None] * model.loading
    own = unknown**2 * model.rest_variance
    if not on_any_folds:
        own = own + unknown * noise / folds
    return Means(model, mean, rows, own, CERTAIN * prior.variances.noise)


def _normal_cdf(values: Array) -> Array:
    """The standard normal distribution; ``scipy.special`` has it, but takes half a second to load."""
    return np.array([0.5 * math.erfc(-value) for value in (values / math.sqrt(2)).tolist()])
