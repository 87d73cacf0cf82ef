"""The input of every statistic: full-length scores, and forecasts for paused fold trials.

A scheduler pauses fold trials because of their curves, so full-length scores alone suffer from survivorship bias: hard
folds look easy because only the better trials finished them, and intervals cover the truth half as often as they claim.
Once the model includes the scores that pausing was decided on, missing cells can be ignored. So a paused cell enters
with its last score plus the expected gain to the end, estimated from finished fold trials, and with the variance of
that forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.statistics.additive_model import Scores, fit_scores
from search.race.mixed_model import Array

MIN_FREEDOM = 3  # degrees of freedom, to estimate how much gains vary
CLIMBS = ((0.8, 1.0), (0.5, 0.8))  # stretches of the curve before the pause that describe its shape


@dataclass(frozen=True)
class ExpectedScores:
    """Configs x folds: scores (NaN where unknown) and their variance beyond the noise, 0 for full-length scores."""

    scores: pd.DataFrame
    variances: pd.DataFrame

    @property
    def full(self) -> pd.DataFrame:
        return self.scores.where(self.variances == 0)

    def restricted_to(self, configs: pd.Index[str]) -> ExpectedScores:
        """Only these configs."""
        rows = self.scores.index.isin(configs)
        return ExpectedScores(self.scores[rows], self.variances[rows])

    def scored(self) -> ExpectedScores:
        """Only the configs and folds that have a score."""
        configs = self.scores.index[self.scores.notna().any(axis="columns")]
        scores = self.scores.loc[configs].dropna(axis="columns", how="all")
        return ExpectedScores(scores, self.variances.loc[configs, scores.columns])


def expected_scores(trials: pd.DataFrame, curves: pd.DataFrame) -> ExpectedScores:
    """From the run's tables, without configs that have a failed fold, whose score cannot be forecast."""
    failed = trials.loc[trials["state"] == "failed", "config"]
    trials = trials[~trials["config"].isin(failed)]
    full = _wide(trials, "full")
    scores, variances = full.copy(), full * 0.0
    paused = trials[(trials["state"] == "paused") & trials["full"].isna() & (trials["step"] > 0)]
    for step, of in sorted(set(zip(paused["step"].tolist(), paused["of"].tolist(), strict=True))):
        cells, similar = paused[(paused["step"] == step) & (paused["of"] == of)], trials[trials["of"] == of]
        forecast, variance = _forecast(similar, curves[curves["config"].isin(similar["config"])], step)
        for config, fold in zip(cells["config"], cells["fold"], strict=True):
            scores.loc[config, fold] = forecast.loc[config, fold]
            variances.loc[config, fold] = variance.loc[config, fold]
    return ExpectedScores(scores, variances)


def _forecast(trials: pd.DataFrame, curves: pd.DataFrame, step: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecast the full-length score of every fold trial that reached the step, NaN where that is impossible.

    The gain from the step to the end follows an additive model of fold, shape of the config's curves before the step,
    and config.
    """
    full = _wide(trials, "full")
    here = curves[curves["step"] == step].pivot(index="config", columns="fold", values="score").reindex_like(full)
    gains = Scores((full - here).to_numpy(), np.zeros(full.shape), _shapes(curves, step, full.index))
    if gains.freedom < MIN_FREEDOM:
        nothing = full * np.nan
        return nothing, nothing
    posterior = fit_scores(gains)
    forecast, variance = here.copy(), here * np.nan
    for place, fold in enumerate(full.columns):
        one = np.zeros((len(full), full.shape[1]))
        one[:, place] = 1.0
        gain, spread = posterior.mean_and_variance(np.concatenate([one, gains.covariates], axis=1))
        known = bool(gains.known[:, place].any())
        forecast[fold] = here[fold] + gain if known else np.nan
        variance[fold] = spread + posterior.noise
    return forecast, variance


def _shapes(curves: pd.DataFrame, step: int, configs: pd.Index[str]) -> Array:
    """The last climb before the step and the one before it, averaged over a config's folds, in standard deviations; 0
    for curves that are too short. Climbs are differences between means over stretches, which reduces noise.
    """
    reached = curves[curves["step"] <= step]
    cell = [reached["config"], reached["fold"]]
    stretches = [reached["score"].where(reached["step"] == step).groupby(cell).mean()]
    for low, high in CLIMBS:
        within = (reached["step"] >= low * step) & (reached["step"] < high * step)
        stretches.append(reached["score"].where(within).groupby(cell).mean())
    climbs = pd.concat([stretches[0] - stretches[1], stretches[1] - stretches[2]], axis=1)
    mean = climbs.dropna().groupby(level=0).mean().reindex(configs)
    scaled = (mean - mean.mean()) / (mean.std(ddof=0) + 1e-9)
    return np.asarray(scaled.fillna(0.0).to_numpy(), dtype=np.float64)


def _wide(trials: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row per config in the order of the run and a column per fold, including those without a score."""
    table = trials.pivot(index="config", columns="fold", values=column).astype(float)
    return table.reindex(index=pd.Index(trials["config"].unique(), name="config")).sort_index(axis="columns")
