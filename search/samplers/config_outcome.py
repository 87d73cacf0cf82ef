"""What Optuna receives: for samplers, the expected score of each config; for the stored study, its outcome so far.

docs/samplers.md explains why the two differ.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from search.policies.contract import Policy
from search.race.forecast import forecast_all
from search.race.mixed_model import Prior
from search.race.prior import relative_prior
from search.race.score_matrix import matrix_of
from search.race.score_table import ScoreTable
from search.race.standings import compare

NOISE = 0.3  # the prior's variance of noise, relative to that of a race, which must not give configs up too early
CURVE_POINTS = 20  # of fold 0, because a storage takes milliseconds for each


@dataclass(frozen=True)
class ConfigOutcome:
    """A config as an Optuna study shows it: its state, the reason for it, and its intermediate values by step."""

    state: Literal["running", "complete", "pruned", "failed"]
    reason: str
    values: dict[int, float]
    mean: float | None = None


def outcome_of(policy: Policy, config: str) -> ConfigOutcome:
    table, values = policy.score_table, values_by_step(policy.score_table, config)
    if config in table.failed:
        return ConfigOutcome("failed", f"a score of fold {table.failed[config][1]} is not a number", values)
    if table.complete(config):
        return ConfigOutcome("complete", "", values, table.shown(math.fsum(table.scores(config)) / table.folds))
    reason = policy.why(config) if values else None
    return ConfigOutcome("pruned" if reason else "running", reason or "", values)


def values_by_step(table: ScoreTable, config: str) -> dict[int, float]:
    """Part of the curve of fold 0, then the mean over the folds so far at the end of each fold, at consecutive steps.

    At the same step, every config has trained the same folds, so these values can be compared directly.
    """
    steps, curve = table.entrants[config].steps, table.curve(config, 0)
    shown = steps[:: -math.ceil(len(steps) / CURVE_POINTS)][::-1]
    values = {step: table.shown(curve[step]) for step in shown if math.isfinite(curve.get(step, math.nan))}
    full: list[float] = []
    for fold in range(table.folds):
        score = table.full(config, fold)
        if score is None or not math.isfinite(score):
            break
        full.append(table.shown(score))
        values[(fold + 1) * steps[-1]] = math.fsum(full) / len(full)
    return values


def estimated_scores(policy: Policy) -> dict[str, float]:
    """The expected mean over all folds of each config that has been screened.

    This is the model of the fold race, in which forecasts count as scores. It corrects for the folds that a
    config has trained and the gain after a rung; a complete config gets its mean. A failed config gets the worst
    estimate, so that it is not proposed again.
    """
    table = policy.score_table
    matrix = matrix_of(table, policy.rungs)
    usual = relative_prior(matrix).variances
    prior = Prior(replace(usual, noise=NOISE * usual.noise))
    forecasts = forecast_all(matrix, prior, gain_spread=0.0)
    forecasts = replace(forecasts, extra=np.zeros_like(forecasts.extra))
    screened = matrix.alive & forecasts.known.any(axis=1)
    if not screened.any():
        return {}
    mean = compare(forecasts, prior, screened).mean
    estimates = {matrix.names[row]: float(mean[row]) for row in np.flatnonzero(screened)}
    return estimates | dict.fromkeys(table.failed, min(estimates.values()))
