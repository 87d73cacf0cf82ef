"""The expected score of each config with its interval, and the set that holds the best config."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.statistics.additive_model import Scores, fit_scores
from analysis.statistics.expected_scores import ExpectedScores
from search.race.mixed_model import Array

LEVEL = 0.95  # of intervals
# Probability, under the model, that the set holds the best config. It exceeds the 95 % that the report claims, because
# the model takes the forecasts of paused folds to be independent.
SET_PROBABILITY = 0.975
DRAWS = 4000
COLUMNS = ("folds", "score", "low", "high", "effect", "effect_low", "effect_high", "best")


@dataclass(frozen=True)
class Difference:
    """The difference between two configs, with an interval; ``chance`` is the probability that the first is better."""

    mean: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True)
class Effects:
    """``table`` has a row per config, in the order of the run.

    ``folds`` counts fold trials at full length; ``score`` is the expected mean over all folds, shrunk towards the
    average of the configs according to the noise of single fold trials; ``effect`` is its distance from that average;
    ``best`` is the probability that no other config is better. ``noise`` and ``spread`` are the standard deviations of
    a fold trial and between configs. Without enough scores intervals are NaN, and ``why_not`` gives the reason.
    """

    table: pd.DataFrame
    noise: float
    spread: float
    why_not: str
    draws: Array  # of every config's score, a row per draw

    def difference(self, config: str, other: str) -> Difference:
        """Between two configs, even if they share no fold."""
        rows = self.table.index.get_indexer(pd.Index([config, other]))
        if self.why_not:
            return Difference(float("nan"), float("nan"), float("nan"), float("nan"))
        apart = self.draws[:, rows[0]] - self.draws[:, rows[1]]
        low, high = _interval(apart)
        mean = float(self.table["score"].iloc[rows[0]] - self.table["score"].iloc[rows[1]])
        return Difference(mean, float(low), float(high), float((apart > 0).mean()))

    def peers(self, winner: str) -> tuple[str, ...]:
        """The smallest set with the winner that holds the best config with SET_PROBABILITY, most probable first.

        The probability is that of the whole set: seventy configs that are each the best with 1 % must not all be
        excluded, as separate tests would do. Without enough scores the set holds all configs.
        """
        others = self.table["best"].drop(winner).sort_values(ascending=False, kind="stable")
        if self.why_not:
            return (winner, *others.index)
        before = self.table["best"].loc[winner] + others.cumsum() - others
        return (winner, *others.index[before < SET_PROBABILITY])


def config_effects(expected: ExpectedScores, seed: int = 0, draws: int = DRAWS) -> Effects:
    """Of the configs that have a score."""
    scored = expected.scored()
    table = pd.DataFrame(np.nan, index=scored.scores.index, columns=list(COLUMNS))
    table["folds"] = scored.full.notna().sum(axis="columns")
    scores = Scores(scored.scores.to_numpy(), scored.variances.fillna(0.0).to_numpy(), np.zeros((len(table), 0)))
    if len(table) < 2 or scores.freedom < 1:
        table["score"] = scored.full.mean(axis="columns")
        return Effects(table, np.nan, np.nan, _why_not(len(table)), np.zeros((0, len(table))))
    posterior = fit_scores(scores)
    average = np.full((len(table), scored.scores.shape[1]), 1.0 / scored.scores.shape[1])
    drawn = posterior.draw(average, draws, np.random.default_rng(seed))
    table["score"] = posterior.mean_and_variance(average)[0]
    table["low"], table["high"] = _interval(drawn)
    table["effect"] = table["score"] - table["score"].mean()
    table["effect_low"], table["effect_high"] = _interval(drawn - drawn.mean(axis=1, keepdims=True))
    table["best"] = np.bincount(drawn.argmax(axis=1), minlength=len(table)) / draws
    return Effects(table, posterior.noise**0.5, posterior.spread**0.5, "", drawn)


def _why_not(configs: int) -> str:
    if configs == 0:
        return "no config has a score at full length"
    if configs == 1:
        return "only one config has a score at full length"
    return "no two configs have a score on the same fold, so they cannot be compared"


def _interval(draws: Array) -> Array:
    tail = 50 * (1 - LEVEL)
    return np.asarray(np.percentile(draws, [tail, 100 - tail], axis=0))
