"""The state of a race: expected means and chances, ranks at the rungs, and which configs are dropped.

It depends on a score matrix and the rules alone. docs/foldrace.md describes the whole procedure.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.race.forecast import forecast_all
from search.race.mixed_model import Array, Prior, Table
from search.race.score_matrix import ScoreMatrix
from search.race.standings import Standings, compare

SPECULATIVE = 5  # best configs whose next folds idle workers may train in advance


@dataclass(frozen=True)
class Rules:
    """The settings of a fold race; docs/foldrace.md explains them."""

    keep: float
    delta: float
    stratify: str | None
    prior: Prior


@dataclass(frozen=True)
class RaceState:
    """Arrays with one entry per config; configs that were added later are missing."""

    table: Table
    standings: Standings
    ranks: NDArray[np.int_]  # within the block (and stratum), by the expected mean
    quotas: NDArray[np.int_]  # how many configs of that block (and stratum) are promoted
    dropped: NDArray[np.bool_]  # the chance to win is too small
    risk: float  # the sum of the chances of all dropped configs
    active: NDArray[np.bool_]  # has reached the last rung and is still in the race
    best: NDArray[np.intp]  # the first of the active configs

    def __len__(self) -> int:
        return len(self.active)

    @property
    def promoted(self) -> NDArray[np.bool_]:
        """Whether a config may train beyond the rung that it has reached."""
        return np.asarray(self.ranks < self.quotas)

    def pause_reason(self, row: int) -> str | None:
        """Why this config is not trained any further; None if it is."""
        if not self.standings.candidates[row]:
            return None
        if self.ranks[row] >= self.quotas[row]:
            return f"paused: rank {self.ranks[row] + 1} at the rung of fold 0, outside the top {self.quotas[row]}"
        if not self.dropped[row]:
            return None
        gap = self.standings.mean[self.standings.leader] - self.standings.mean[row]
        known = np.flatnonzero(self.table.known[row])
        folds = f"fold {known[0]}" if len(known) == 1 else f"folds {known[0]}-{known[-1]}"
        return (
            f"paused: {gap:.3f} behind the leader on {folds},"
            f" chance to win {100 * self.standings.chance[row]:.1f} %"
            f" ({100 * self.risk:.1f} % for all paused configs together)"
        )


def compute_race(matrix: ScoreMatrix, rules: Rules) -> RaceState:
    table = forecast_all(matrix, rules.prior)
    candidates = matrix.alive
    if matrix.rungs:
        candidates &= np.isfinite(matrix.at_rung(len(matrix.rungs) - 1)[:, 0])
    standings = compare(table, rules.prior, candidates)
    ranks, quotas = _rank(matrix, standings.mean, rules)
    dropped, risk = _drop(standings, rules.delta)
    active = np.asarray(candidates & (ranks < quotas) & ~dropped)
    rows = np.flatnonzero(active)
    best = rows[np.argsort(-standings.mean[rows], kind="stable")][:SPECULATIVE]
    return RaceState(table, standings, ranks, quotas, dropped, risk, active, best)


def _rank(matrix: ScoreMatrix, mean: Array, rules: Rules) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Rank by expected mean among the configs of the same block (and stratum) that reached the same rung."""
    ranks, quotas = np.zeros(len(mean), dtype=int), np.full(len(mean), len(mean))
    groups = matrix.blocks
    if rules.stratify:
        strata = np.unique(matrix.levels(rules.stratify), return_inverse=True)[1]
        groups = groups * (strata.max(initial=0) + 1) + strata
    for index in range(len(matrix.rungs)):
        reached = np.isfinite(matrix.at_rung(index)[:, 0])
        for group in np.unique(groups):
            rows = np.flatnonzero((groups == group) & reached)
            ranks[rows[np.argsort(-mean[rows], kind="stable")]] = np.arange(len(rows))
            quotas[rows] = math.ceil(rules.keep * len(rows) - 1e-9)
    return ranks, quotas


def _drop(standings: Standings, delta: float) -> tuple[NDArray[np.bool_], float]:
    """Drop the least likely winners, as many as have a chance of at most ``delta`` together."""
    chance = np.where(standings.candidates, standings.chance, 0.0)
    order = np.argsort(chance, kind="stable")
    risk = np.cumsum(chance[order])
    dropped = np.zeros(len(chance), dtype=bool)
    dropped[order] = risk <= delta
    return dropped, float(risk[risk <= delta].max(initial=0.0))
