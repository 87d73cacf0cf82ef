"""What is known of the configs: the winner, its peers, expected means and chances. All views and reports quote these.

There is one posterior, the mixed model of all full-length scores, and two questions. The chance to win on these folds
is what the race prunes by: the scores of these folds are certain once they are known. The chance to be better on any
folds of the same data decides who is a peer of the winner, also by a forecast. Expected means are about any folds, too.
They also count forecasts of folds that were paused at a rung, without which those that went on would look better than
they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from search.messages import Answer
from search.race.forecast import forecast_all
from search.race.mixed_model import Table, fit
from search.race.prior import relative_prior
from search.race.score_matrix import matrix_of
from search.race.score_table import ScoreTable
from search.race.standings import Means, best_of, expected_means

PEER_CHANCE = 0.05  # configs that are better than the winner with at least this chance are its peers
FORECAST_CHANCE = 0.10  # the same for configs without a full-length score: forecasts claim too much
WIDTH = 1.96  # standard deviations on either side, of a 95 % interval
TIED = 1e-9  # of their size: means closer than this are the same number


@dataclass(frozen=True)
class Standing:
    """A config: its full-length folds, its expected mean over any folds of the same data with a 95 % interval, its
    chance to win on these folds and its chance to be better than the winner on any folds.

    Scores are in the direction of the metric. The leader and the winner, which the others are compared with, have no
    chance of their own, which is NaN. A config that was paused before it had a full-length score has a forecast only,
    and no chance on these folds.
    """

    config: str
    folds: int
    expected: float
    low: float
    high: float
    chance_these_folds: float
    chance_any_folds: float

    @property
    def forecast(self) -> bool:
        return self.folds == 0

    @property
    def likely(self) -> bool:
        """Whether it cannot be distinguished from the winner; False for the winner itself."""
        return self.chance_any_folds >= (FORECAST_CHANCE if self.forecast else PEER_CHANCE)


@dataclass(frozen=True)
class Difference:
    """Between two configs on any folds, with a 95 % interval, and the chance that the first is better."""

    mean: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True)
class Assessment:
    """``standings`` begins with the best expected mean and ends with the forecasts; ``tied`` are other configs with the
    winner's mean. ``noise`` and ``spread`` are the standard deviations of a fold trial and between configs. Without
    enough scores there are no chances, and ``why_not`` gives the reason.
    """

    winner: str | None
    tied: tuple[str, ...]
    peers: tuple[str, ...]
    standings: Mapping[str, Standing]
    noise: float
    spread: float
    why_not: str
    rows: Mapping[str, int]
    means: Means | None
    sign: float

    @property
    def ranking(self) -> tuple[str, ...]:
        """The configs that have a full-length score, the best expected mean first."""
        return tuple(each.config for each in self.standings.values() if not each.forecast)

    @property
    def exceptions(self) -> tuple[str, ...]:
        """Configs outside the set whose expected mean is above that of a peer, which is known less exactly."""
        ranking, peers = self.ranking, set(self.peers)
        last = max((place for place, config in enumerate(ranking) if config in peers), default=0)
        return tuple(config for config in ranking[:last] if config not in peers)

    def difference(self, config: str, other: str) -> Difference | None:
        """None if they cannot be compared."""
        if self.means is None or self.why_not or not {config, other} <= set(self.ranking):
            return None
        row, place = self.rows[config], self.rows[other]
        apart = self.means.mean[row] - self.means.mean[place]
        reach = WIDTH * float(self.means.sd_apart(place)[row])
        mean = self.sign * float(apart)
        return Difference(mean, mean - reach, mean + reach, float(self.means.chance(place)[row]))


def best_complete(score_table: ScoreTable, rungs: tuple[float, ...] = ()) -> Answer:
    """Only a complete config can win; ``rungs`` are those of the scheduler, as in ``assess``."""
    found = assess(score_table, rungs)
    return Answer(found.winner, found.peers)


def best_first(score_table: ScoreTable, among: Collection[str] | None = None) -> tuple[str, ...]:
    """The complete configs with the best mean, of all or of those given. There are several if means are equal: the
    cheaper one comes first, then the one with fewer unusual values, then the earlier one.
    """
    configs = [name for name in score_table.entrants if score_table.complete(name) and (among is None or name in among)]
    means = {name: math.fsum(score_table.scores(name)) / score_table.folds for name in configs}
    best = max(means.values(), default=0.0)
    tied = (name for name in configs if math.isclose(means[name], best, rel_tol=TIED))
    return tuple(sorted(tied, key=lambda name: (_cost(score_table, name), _unusual(score_table, name))))


def assess(score_table: ScoreTable, rungs: tuple[float, ...] = ()) -> Assessment:
    """``rungs`` are those of the scheduler, whose scores lead to the forecasts."""
    matrix, sign = matrix_of(score_table, rungs), -1.0 if score_table.minimize else 1.0
    table, prior = matrix.full_table(), relative_prior(matrix)
    tied, scored, why_not = best_first(score_table), np.asarray(table.known.any(1)), _why_not(table)
    winner = tied[0] if tied else None
    if not scored.any():
        return Assessment(None, (), (), {}, math.nan, math.nan, why_not, matrix.row, None, sign)
    model = fit(table, prior)
    here, anywhere = (expected_means(table, model, prior, on_any_folds) for on_any_folds in (False, True))
    chances = np.full((2, len(matrix.names)), np.nan)
    if not why_not:
        first = table.known[:, 0]
        leader = best_of(here, first if first.any() else scored)
        chances[0, scored] = here.chance(leader)[scored]
        chances[0, leader] = np.nan
        if winner is not None:
            chances[1, scored] = anywhere.chance(matrix.row[winner])[scored]
            chances[1, matrix.row[winner]] = np.nan
    expected, listed = anywhere, scored
    if rungs and not why_not and table.known[:, 0].any():
        forecasts = forecast_all(matrix, prior)
        expected = expected_means(forecasts, fit(forecasts, prior), prior, on_any_folds=True)
        listed = np.asarray(forecasts.known.any(1)) & matrix.alive
        if winner is not None:
            chances[1, ~scored] = expected.chance(matrix.row[winner])[~scored]
    order = np.lexsort((-expected.mean, ~scored))
    reach = WIDTH * expected.sd * (np.nan if why_not else 1.0)
    standings = {}
    for row in order[listed[order]]:
        mean, folds = sign * float(expected.mean[row]), int(table.known[row].sum())
        ends = mean - float(reach[row]), mean + float(reach[row])
        standings[matrix.names[row]] = Standing(matrix.names[row], folds, mean, *ends, *map(float, chances[:, row]))
    likely = [each.config for each in standings.values() if why_not or each.likely]
    peers = () if winner is None else (winner, *(config for config in likely if config != winner))
    spread = model.variances.rest + model.variances.effect * float(table.design.sum(1).mean())
    noise = model.variances.noise
    return Assessment(winner, tied[1:], peers, standings, noise**0.5, spread**0.5, why_not, matrix.row, anywhere, sign)


def _why_not(table: Table) -> str:
    """Why chances cannot be estimated; empty if they can."""
    scored = int(table.known.any(1).sum())
    if scored == 0:
        return "no config has a score at full length"
    if scored == 1:
        return "only one config has a score at full length"
    if table.known.sum() <= table.known.any(0).sum():
        return "no two configs have a score on the same fold, so they cannot be compared"
    return ""


def _cost(score_table: ScoreTable, config: str) -> float:
    """GPU-seconds of its folds, rounded to two significant digits, because clocks are not more exact."""
    spent = sum(score_table.gpu_seconds(config, fold) for fold in range(score_table.folds))
    return float(f"{spent:.1e}")


def _unusual(score_table: ScoreTable, config: str) -> int:
    values = score_table.entrants[config].parameters
    return sum(values.get(name) != usual for name, usual in score_table.usual.items())
