"""The race as it stands at one moment: who is expected to give what, who may leave the rungs, who is dropped.

It follows from a sheet and the rules alone. The whole of it is told in docs/foldrace.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.race.forecast import forecast_all
from search.race.mixed_model import Array, Prior, Table
from search.race.score_matrix import ScoreMatrix
from search.race.standings import Standings, compare

SPECULATED = 5  # of the best configs, the folds that idle workers may run ahead


@dataclass(frozen=True)
class Rules:
    """What ``keep``, ``delta`` and ``stratify`` of a space mean, docs/foldrace.md tells."""

    keep: float
    delta: float
    stratify: str | None
    prior: Prior


@dataclass(frozen=True)
class RaceState:
    """What follows from the facts of one moment, one entry per config; configs that came later are not in it."""

    table: Table
    standings: Standings
    ranks: NDArray[np.int_]  # within the block (and stratum), by the expected mean
    places: NDArray[np.int_]  # how many of them may leave the rungs
    dropped: NDArray[np.bool_]  # too little chance to win
    risk: float  # the chances of all that are dropped, together
    runs: NDArray[np.bool_]  # at the last rung or beyond, and in the race
    best: NDArray[np.intp]  # the first of those that run

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def leaves(self) -> NDArray[np.bool_]:
        """Who may leave the rungs that it stands at."""
        return np.asarray(self.ranks < self.places)

    def pause_reason(self, row: int) -> str | None:
        """Why a config that is in this race would not be trained; None where it would."""
        if not self.standings.candidates[row]:
            return None
        if self.ranks[row] >= self.places[row]:
            return f"paused: rank {self.ranks[row] + 1} at the rung of fold 0, the best {self.places[row]} go on"
        if not self.dropped[row]:
            return None
        behind = self.standings.mean[self.standings.leader] - self.standings.mean[row]
        seen = np.flatnonzero(self.table.known[row])
        folds = f"fold {seen[0]}" if len(seen) == 1 else f"folds {seen[0]}-{seen[-1]}"
        return (
            f"paused: {behind:.3f} behind the leader on {folds},"
            f" chance to win {100 * self.standings.chance[row]:.1f} %"
            f" ({100 * self.risk:.1f} % with all that are paused)"
        )


def compute_race(score_matrix: ScoreMatrix, rules: Rules) -> RaceState:
    table = forecast_all(score_matrix, rules.prior)
    candidates = score_matrix.alive & (
        np.isfinite(score_matrix.at(len(score_matrix.rungs) - 1)[:, 0]) if score_matrix.rungs else True
    )
    standings = compare(table, rules.prior, candidates)
    ranks, places = _rank(score_matrix, standings.mean, rules)
    dropped, risk = _drop(standings, rules.delta)
    runs = np.asarray(candidates & (ranks < places) & ~dropped)
    rows = np.flatnonzero(runs)
    best = rows[np.argsort(-standings.mean[rows], kind="stable")][:SPECULATED]
    return RaceState(table, standings, ranks, places, dropped, risk, runs, best)


def _rank(score_matrix: ScoreMatrix, mean: Array, rules: Rules) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Ranks by the expected mean among all that reached the same rung of the same block (and stratum)."""
    ranks, places = np.zeros(len(mean), dtype=int), np.full(len(mean), len(mean))
    groups = score_matrix.blocks
    if rules.stratify:
        levels = np.unique(score_matrix.levels(rules.stratify), return_inverse=True)[1]
        groups = groups * (levels.max(initial=0) + 1) + levels
    for place in range(len(score_matrix.rungs)):
        reached = np.isfinite(score_matrix.at(place)[:, 0])
        for group in np.unique(groups):
            rows = np.flatnonzero((groups == group) & reached)
            ranks[rows[np.argsort(-mean[rows], kind="stable")]] = np.arange(len(rows))
            places[rows] = math.ceil(rules.keep * len(rows) - 1e-9)
    return ranks, places


def _drop(standings: Standings, delta: float) -> tuple[NDArray[np.bool_], float]:
    """The least likely winners, as many as have a chance of no more than delta together."""
    chance = np.where(standings.candidates, standings.chance, 0.0)
    order = np.argsort(chance, kind="stable")
    risk = np.cumsum(chance[order])
    dropped = np.zeros(len(chance), dtype=bool)
    dropped[order] = risk <= delta
    return dropped, float(risk[risk <= delta].max(initial=0.0))
