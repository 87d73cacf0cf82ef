"""What each config is worth, with what is not known about it, and the set that cannot be told from the winner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.statistics.additive_model import Scores, fit_scores
from analysis.statistics.expected_scores import Expected
from search.race.mixed_model import Array

LEVEL = 0.95  # of intervals
HOLDS = 0.975  # the chance with which the set holds the best config, by the model; a little more than the 95 % that
# are promised, for what the model leaves out: its forecasts of paused folds are taken for independent
DRAWS = 4000
COLUMNS = ("folds", "score", "low", "high", "effect", "effect_low", "effect_high", "best")


@dataclass(frozen=True)
class Difference:
    """How much better one is than another, with an interval and the chance that it is better at all."""

    mean: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True)
class Effects:
    """A row per config in ``table``, in the order they came.

    ``folds`` at full length; ``score`` is what the config is expected to give over the run's folds, shrunken towards
    the others as far as the noise of single fold trials asks for, ``effect`` its distance from the average config;
    ``best`` the chance that no other config is better. ``noise`` and ``spread`` are standard deviations, of a fold
    trial and between configs. Where there is too little to tell, intervals are NaN and ``told`` says why.
    """

    table: pd.DataFrame
    noise: float
    spread: float
    told: str
    draws: Array  # of every config's score, a row per draw

    def difference(self, config: str, other: str) -> Difference:
        """Between two configs, also where they share no fold."""
        rows = self.table.index.get_indexer(pd.Index([config, other]))
        if self.told:
            return Difference(float("nan"), float("nan"), float("nan"), float("nan"))
        apart = self.draws[:, rows[0]] - self.draws[:, rows[1]]
        low, high = _interval(apart)
        mean = float(self.table["score"].iloc[rows[0]] - self.table["score"].iloc[rows[1]])
        return Difference(mean, float(low), float(high), float((apart > 0).mean()))

    def peers(self, winner: str) -> tuple[str, ...]:
        """The winner, and the fewest configs that with it hold the best one with the chance HOLDS, likeliest first.

        This is a statement about all of them at once: seventy configs of which each has a chance of 1 % to be the
        best are not ruled out by asking each alone. Where nothing can be told, everybody is in it.
        """
        others = self.table["best"].drop(winner).sort_values(ascending=False, kind="stable")
        if self.told:
            return (winner, *others.index)
        before = self.table["best"].loc[winner] + others.cumsum() - others
        return (winner, *others.index[before < HOLDS])


def config_effects(expected: Expected, seed: int = 0, draws: int = DRAWS) -> Effects:
    """Configs of which nothing is known are left out."""
    known = expected.of(expected.scores.index[expected.scores.notna().any(axis="columns")])
    table = pd.DataFrame(np.nan, index=known.scores.index, columns=list(COLUMNS))
    table["folds"] = known.full.notna().sum(axis="columns")
    scores = Scores(known.scores.to_numpy(), known.variances.fillna(0.0).to_numpy(), np.zeros((len(table), 0)))
    if len(table) < 2 or scores.freedom < 1:
        table["score"] = known.full.mean(axis="columns")
        return Effects(table, np.nan, np.nan, _why_not(len(table)), np.zeros((0, len(table))))
    posterior = fit_scores(scores)
    average = np.full((len(table), known.scores.shape[1]), 1.0 / known.scores.shape[1])
    drawn = posterior.draw(average, draws, np.random.default_rng(seed))
    table["score"] = posterior.expect(average)[0]
    table["low"], table["high"] = _interval(drawn)
    table["effect"] = table["score"] - table["score"].mean()
    table["effect_low"], table["effect_high"] = _interval(drawn - drawn.mean(axis=1, keepdims=True))
    table["best"] = np.bincount(drawn.argmax(axis=1), minlength=len(table)) / draws
    return Effects(table, posterior.noise**0.5, posterior.spread**0.5, "", drawn)


def _why_not(configs: int) -> str:
    if configs == 0:
        return "no config has a score at full length"
    if configs == 1:
        return "one config alone has a score at full length"
    return "no two configs have a score on the same fold, so that they cannot be compared"


def _interval(draws: Array) -> Array:
    tail = 50 * (1 - LEVEL)
    return np.asarray(np.percentile(draws, [tail, 100 - tail], axis=0))
