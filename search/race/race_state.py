"""The state of a race: ranks at the rungs, expected means and chances, and which configs are paused.

It depends on a score matrix and the rules alone. docs/foldrace.md describes the procedure,
docs/foldrace_measured.md the model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.race.main_effects import RungScores, expect
from search.race.mixed_model import Prior, Table
from search.race.prior import relative_prior
from search.race.score_matrix import ScoreMatrix
from search.race.standings import Standings, compare

LIMITS = (0.3, 0.2, 0.15, 0.1)  # shares of all configs that may train their second, third, and each further fold
SAFE = (3, 2)  # configs that always train their second, and each further fold, as in halving
SPECULATIVE = 2  # best configs whose next folds idle workers may train in advance

Ranked = tuple[int, int, bytes]  # a rung, a group of configs, and their scores there


@dataclass(frozen=True)
class Rules:
    """The settings of a fold race; docs/foldrace.md explains them."""

    keep: float
    delta: float
    stratify: str | None


@dataclass(frozen=True)
class Stratum:
    """The configs of one value of the stratifying parameter at a rung, or all, the best ``share`` of which continue."""

    rows: NDArray[np.intp]
    share: float
    scores: NDArray[np.float64]  # sorted, the best first


@dataclass(frozen=True)
class RaceState:
    """Arrays with one entry per config; configs that were added later are missing.

    ``ranks`` and ``quotas`` belong to the last rung that a config has reached, and to its block (and stratum);
    ``places`` and ``limits`` to the comparison of full-length scores.
    """

    table: Table
    prior: Prior
    standings: Standings
    rungs: NDArray[np.int_]  # the step of the last rung reached
    ranks: NDArray[np.int_]
    quotas: NDArray[np.int_]
    drawn: NDArray[np.bool_]  # ranked by scores that are drawn towards main effects of the parameters
    places: NDArray[np.int_]
    limits: NDArray[np.int_]
    dropped: NDArray[np.bool_]  # the chance to win is too small
    risk: float  # the sum of the chances of all dropped configs
    active: NDArray[np.bool_]  # is past the last rung and still in the race
    best: NDArray[np.intp]  # the first of the active configs
    expected: dict[Ranked, RungScores]  # kept because a report changes only one

    def __len__(self) -> int:
        return len(self.active)

    @property
    def promoted(self) -> NDArray[np.bool_]:
        """Whether a config may train beyond the rung that it has reached."""
        return np.asarray(self.ranks < self.quotas)

    def pause_reason(self, row: int) -> str | None:
        """Why this config is not trained any further; None if it is."""
        if self.ranks[row] >= self.quotas[row]:
            basis = " as expected with main effects" if self.drawn[row] else ""
            rank = f"rank {self.ranks[row] + 1}{basis} at step {self.rungs[row]} of fold 0"
            return f"paused: {rank}, outside the top {self.quotas[row]}"
        if not self.standings.candidates[row] or self.active[row]:
            return None
        known = np.flatnonzero(self.table.known[row])
        folds = f"fold {known[0]}" if len(known) == 1 else f"folds {known[0]}-{known[-1]}"
        if not self.dropped[row]:
            return f"paused: place {self.places[row] + 1} on {folds}, outside the top {self.limits[row]}"
        gap = self.standings.mean[self.standings.leader] - self.standings.mean[row]
        return (
            f"paused: expected {gap:.3g} behind the leader on {folds},"
            f" chance to win on these folds {100 * self.standings.chance[row]:.1f} %"
            f" ({100 * self.risk:.1f} % for all paused configs together)"
        )


def compute_race(matrix: ScoreMatrix, rules: Rules, before: RaceState | None = None) -> RaceState:
    """``before`` is an earlier state, whose results hold for the scores that are not new."""
    table, prior = matrix.full_table(), relative_prior(matrix)
    candidates = matrix.alive & table.known[:, 0]
    if before is not None and before.prior == prior and _equal(before, table, candidates):
        standings = before.standings
    else:
        standings = compare(table, prior, candidates)
    expected: dict[Ranked, RungScores] = {}
    rungs, ranks, quotas, drawn = _rank(matrix, rules, before.expected if before else {}, expected)
    screening = rungs, ranks, quotas, drawn
    places, limits, safe = _place(table, standings)
    dropped, risk = _drop(standings, safe, rules.delta)
    complete = np.asarray(table.known.all(1))
    active = np.asarray(matrix.alive & (ranks < quotas) & ~dropped & (complete | (places < limits)))
    if matrix.rungs:
        active &= np.isfinite(matrix.at_rung(len(matrix.rungs) - 1)[:, 0])
    rows = np.flatnonzero(active & candidates)
    best = rows[np.argsort(-standings.mean[rows], kind="stable")][:SPECULATIVE]
    return RaceState(table, prior, standings, *screening, places, limits, dropped, risk, active, best, expected)


def _equal(before: RaceState, table: Table, candidates: NDArray[np.bool_]) -> bool:
    """Whether the same scores are compared; the design changes with the number of configs only."""
    same = np.array_equal(before.table.scores, table.scores, equal_nan=True)
    return same and np.array_equal(before.standings.candidates, candidates)


def _rank(
    matrix: ScoreMatrix, rules: Rules, before: dict[Ranked, RungScores], expected: dict[Ranked, RungScores]
) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.int_], NDArray[np.bool_]]:
    """The step of the last rung that a config has reached, its rank among the configs of the same block (and stratum)
    at that rung, how many of them are promoted, and whether main effects count in the rank. Fills ``expected``, from
    ``before`` where the scores are the same.
    """
    count = len(matrix.names)
    steps, ranks, quotas = np.zeros(count, dtype=int), np.zeros(count, dtype=int), np.full(count, count)
    drawn = np.zeros(count, dtype=bool)
    strata = np.zeros(count, dtype=int)
    if rules.stratify:
        strata = np.unique(matrix.levels(rules.stratify), return_inverse=True)[1]
    groups = matrix.blocks * (strata.max(initial=0) + 1) + strata
    for index in range(len(matrix.rungs)):
        scores = matrix.at_rung(index)[:, 0]
        reached: dict[int, list[Stratum]] = {}
        for group in np.unique(groups):
            rows = np.flatnonzero((groups == group) & np.isfinite(scores))
            key = index, int(group), np.where(groups == group, scores, np.nan).tobytes()
            rung = expected[key] = before.get(key) or expect(scores[rows], matrix.design[rows])
            ranks[rows[np.argsort(-rung.expected, kind="stable")]] = np.arange(len(rows))
            drawn[rows] = rung.power > 1.0
            steps[rows] = [matrix.steps[row][index] for row in rows]
            if len(rows):
                stratum = Stratum(rows, rules.keep**rung.power * len(rows), np.sort(rung.expected)[::-1])
                reached.setdefault(int(matrix.blocks[rows[0]]), []).append(stratum)
        for of_block in reached.values():
            for stratum, quota in zip(of_block, _quotas(of_block), strict=True):
                quotas[stratum.rows] = quota
    return steps, ranks, quotas, drawn


def _quotas(strata: Sequence[Stratum]) -> list[int]:
    """How many configs of each stratum are promoted: at least one, and in total their shares rounded up.

    If the share of each stratum were rounded up, strata of up to five configs would never lose one. What the whole
    parts of the shares leave goes to the largest remainders, of equal ones to the stratum whose next config is best.
    """
    quotas = [max(1, int(stratum.share + 1e-9)) for stratum in strata]
    left = math.ceil(sum(stratum.share for stratum in strata) - 1e-9) - sum(quotas)

    def place(number: int) -> tuple[float, float]:
        stratum, quota = strata[number], quotas[number]
        return round(quota - stratum.share, 6), -float(stratum.scores[min(quota, len(stratum.scores) - 1)])

    for number in sorted(range(len(strata)), key=place)[: max(0, left)]:
        quotas[number] += 1
    return quotas


def _place(table: Table, standings: Standings) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.bool_]]:
    """The place of each candidate by its expected mean, the number of places that lead to its next fold, and whether
    its place is among the safe ones. The limits keep a race of many equal configs from training all of them.
    """
    count = len(standings.mean)
    places, folds = np.full(count, count), table.known.sum(1)
    rows = np.flatnonzero(standings.candidates)
    places[rows[np.argsort(-standings.mean[rows], kind="stable")]] = np.arange(len(rows))
    safe = np.array([0, *SAFE])[np.minimum(folds, len(SAFE))]
    shares = np.array([count + 1, *(math.ceil(share * count - 1e-9) for share in LIMITS)])
    return places, np.maximum(shares[np.minimum(folds, len(LIMITS))], safe), places < safe


def _drop(standings: Standings, safe: NDArray[np.bool_], delta: float) -> tuple[NDArray[np.bool_], float]:
    """Drop the least likely winners, as many as have a chance of at most ``delta`` together."""
    chance = np.where(standings.candidates, standings.chance, 0.0)
    order = np.argsort(chance, kind="stable")
    dropped = np.zeros(len(order), dtype=bool)
    dropped[order] = np.cumsum(chance[order]) <= delta
    dropped &= standings.candidates & ~safe
    return dropped, float(chance[dropped].sum())
