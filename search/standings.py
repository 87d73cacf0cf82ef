"""Where every config stands: what all its folds are expected to give, and its chance to beat the leader."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from search.mixed_model import Array, Fit, Prior, Table, fit

CAUTION = 0.25  # standard errors by which the noise is taken too high rather than too low


@dataclass(frozen=True)
class Standings:
    """One entry per config; the leader is the best of the candidates.

    ``mean`` is what all folds together give, as far as known exactly; ``chance`` that this is more than the
    leader's; ``peer`` the chance that the config is better than the leader whatever the folds: what set of
    equals it is in.
    """

    leader: int
    candidates: NDArray[np.bool_]
    mean: Array
    chance: Array
    peer: Array


def stand(table: Table, prior: Prior, candidates: NDArray[np.bool_]) -> Standings:
    """The leader is the best of the ``candidates``, of which there must be one."""
    model = fit(table, prior, CAUTION)
    noise = model.variances.noise
    trust = np.where(table.known, noise / (noise + table.extra), 0.0)
    mean, chance, leader = _compare(table, model, trust, noise, candidates)
    one = np.zeros(len(mean), dtype=bool)
    one[leader] = True
    _, peer, _ = _compare(table, model, np.zeros_like(trust), 0.0, one)
    return Standings(leader, candidates, mean, chance, peer)


def _compare(
    table: Table, model: Fit, trust: Array, noise: Array | float, candidates: NDArray[np.bool_]
) -> tuple[Array, Array, int]:
    """The mean over folds, each of which is ``trust`` what was seen and the rest what the model expects
    there.
    """
    folds = trust.shape[1]
    open_share = (1.0 - trust).mean(1)
    seen = (trust * np.where(table.known, table.scores, 0.0)).sum(1) / folds
    rows = np.concatenate([(1.0 - trust) / folds, open_share[:, None] * table.design], axis=1)
    mean = seen + rows @ model.shared + open_share * model.rest
    leader = int(np.argmax(np.where(candidates, mean, -np.inf)))
    rows += open_share[:, None] * model.loading
    own = open_share**2 * model.rest_variance + noise * (1.0 - trust).sum(1) / folds**2
    variance = model.spread(rows - rows[leader]) + own + own[leader]
    chance = ndtr((mean - mean[leader]) / np.sqrt(np.maximum(variance, 1e-12)))
    chance[leader] = 1.0
    return mean, chance, leader
