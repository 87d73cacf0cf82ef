"""The table every statistic starts from: full-length scores, and what paused fold trials would have come to.

A scheduler pauses fold trials because of what their curves show. A table of the full-length scores alone is
therefore a table of survivors: its hard folds look easy, because only the lucky ran them to the end, and intervals
from it cover the truth half as often as they say. What pausing was decided on must be in the model; then it may
be ignored why a cell is missing. So a paused cell enters with its last score, plus the gain from there to the end
of fold trials that were finished, with the variance such a promise has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.statistics.additive_model import Scores, fit_scores
from search.race.mixed_model import Array

FEWEST_GAINS = 3  # beyond one per fold, to know how far gains differ
CLIMBS = ((0.8, 1.0), (0.5, 0.8))  # parts of the curve before the pause that tell its shape


@dataclass(frozen=True)
class Expected:
    """Configs x folds: scores (NaN where nothing is known), and their variance beyond noise: 0 if full length."""

    scores: pd.DataFrame
    variances: pd.DataFrame

    @property
    def full(self) -> pd.DataFrame:
        return self.scores.where(self.variances == 0)

    def of(self, configs: pd.Index[str]) -> Expected:
        """These configs, and the folds in which one of them has a score."""
        scores = self.scores.loc[configs].dropna(axis="columns", how="all")
        return Expected(scores, self.variances.loc[configs, scores.columns])


def expect(trials: pd.DataFrame, curves: pd.DataFrame) -> Expected:
    """From the run's tables. A config with a failed fold is not in it: what it would have given is not known."""
    failed = trials.loc[trials["state"] == "failed", "config"]
    trials = trials[~trials["config"].isin(failed)]
    full = _wide(trials, "full")
    scores, variances = full.copy(), full * 0.0
    paused = trials[(trials["state"] == "paused") & trials["full"].isna() & (trials["step"] > 0)]
    for step, of in sorted(set(zip(paused["step"].tolist(), paused["of"].tolist(), strict=True))):
        cells, alike = paused[(paused["step"] == step) & (paused["of"] == of)], trials[trials["of"] == of]
        promised, variance = _promise(alike, curves[curves["config"].isin(alike["config"])], step)
        for config, fold in zip(cells["config"], cells["fold"], strict=True):
            scores.loc[config, fold] = promised.loc[config, fold]
            variances.loc[config, fold] = variance.loc[config, fold]
    return Expected(scores, variances)


def _promise(trials: pd.DataFrame, curves: pd.DataFrame, step: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What every fold trial that reached the step is worth at full length, NaN where nobody can say.

    The gain from the step to the end is an additive model of its own: by fold, by the shape of the config's curves
    before the step, and by the config's own gains.
    """
    full = _wide(trials, "full")
    here = curves[curves["step"] == step].pivot(index="config", columns="fold", values="score").reindex_like(full)
    gains = Scores((full - here).to_numpy(), np.zeros(full.shape), _shapes(curves, step, full.index))
    if gains.freedom < FEWEST_GAINS:
        nothing = full * np.nan
        return nothing, nothing
    posterior = fit_scores(gains)
    promised, variance = here.copy(), here * np.nan
    for place, fold in enumerate(full.columns):
        one = np.zeros((len(full), full.shape[1]))
        one[:, place] = 1.0
        gain, spread = posterior.expect(np.concatenate([one, gains.covariates], axis=1))
        known = bool(gains.known[:, place].any())
        promised[fold] = here[fold] + gain if known else np.nan
        variance[fold] = spread + posterior.noise
    return promised, variance


def _shapes(curves: pd.DataFrame, step: int, configs: pd.Index[str]) -> Array:
    """The climb into the step and the climb before it, a config's folds averaged, in standard deviations; 0 where
    a curve is too short to tell. Means over stretches, so that single evaluations matter little.
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
    """Configs in the order they came, folds in order, also those without a score."""
    table = trials.pivot(index="config", columns="fold", values=column).astype(float)
    return table.reindex(index=pd.Index(trials["config"].unique(), name="config")).sort_index(axis="columns")
