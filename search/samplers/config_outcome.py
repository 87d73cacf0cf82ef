"""What Optuna is told of a config: to its sampler, how good it is taken to be now; to its study, how it fared.

docs/samplers.md says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.messages import Report
from search.policies.contract import Policy
from search.race.answer import default_prior
from search.race.forecast import forecast_all
from search.race.score_matrix import ScoreMatrix
from search.race.score_table import ScoreTable
from search.race.standings import compare

POINTS = 20  # of a curve; a storage takes milliseconds for each
Fate = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class ConfigOutcome:
    """A config as an Optuna study shows it: its state, why it is in it, and its intermediate values by step."""

    fate: Fate
    reason: str
    values: dict[int, float]
    mean: float | None = None


def outcome_of(policy: Policy, config: str) -> ConfigOutcome:
    score_table, values = policy.score_table, values_by_step(policy.score_table, config)
    if config in score_table.failed:
        return ConfigOutcome("failed", f"a score of fold {score_table.failed[config][1]} is not a number", values)
    if score_table.complete(config):
        return ConfigOutcome("complete", "", values, math.fsum(score_table.scores(config)) / score_table.folds)
    reason = policy.why(config) if values else None
    return ConfigOutcome("pruned" if reason else "running", reason or "", values)


def values_by_step(score_table: ScoreTable, config: str) -> dict[int, float]:
    """Some of the curve of fold 0, then the mean over the folds after each further one, at steps that count through.

    At the same step every config has been through the same folds, so these values can be compared as they are.
    """
    steps, curve = score_table.entrants[config].steps, score_table.curve(config, 0)
    shown = steps[:: -math.ceil(len(steps) / POINTS)][::-1]
    values = {step: curve[step] for step in shown if math.isfinite(curve.get(step, math.nan))}
    full: list[float] = []
    for fold in range(score_table.folds):
        score = score_table.full(config, fold)
        if score is None or not math.isfinite(score):
            break
        full.append(score)
        values[(fold + 1) * steps[-1]] = math.fsum(full) / len(full)
    return values


def estimated_scores(policy: Policy) -> dict[str, float]:
    """What each config that has been screened should give over all folds, by all that is known now.

    The race's own estimate, without its doubt whether gains that nobody saw may differ: what a fold has over
    others and a rung lacks to the end is taken out of it, and a complete config has its mean. One that failed is as
    bad as the worst: it must not be proposed again.
    """
    score_table, prior = policy.score_table, default_prior()
    score_matrix = ScoreMatrix(score_table, policy.rungs)
    for entrant in score_table.entrants.values():
        score_matrix.add(entrant)
    for row, config in enumerate(score_matrix.names):
        for fold in range(score_table.folds):
            for step in score_matrix.steps[row]:
                if (score := score_table.score(config, fold, step)) is not None:
                    score_matrix.write(Report(config, fold, step, score, 0.0))
    table = forecast_all(score_matrix, prior, gain_spread=0.0)
    screened = score_matrix.alive & table.known.any(axis=1)
    if not screened.any():
        return {}
    mean = compare(table, prior, screened).mean
    found = {score_matrix.names[row]: float(mean[row]) for row in np.flatnonzero(screened)}
    return found | dict.fromkeys(score_table.failed, min(found.values()))
