"""What Optuna is told of a config: to its sampler, how good it is taken to be now; to its study, how it fared.

docs/samplers.md says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.answer import usual_prior
from search.board import Board
from search.forecast import forecast_all
from search.policy import Policy
from search.sheet import Sheet
from search.standings import stand
from search.words import Report

POINTS = 20  # of a curve; a storage takes milliseconds for each
Fate = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Account:
    """A config as an Optuna study shows it: its state, why it is in it, and its intermediate values by step."""

    fate: Fate
    reason: str
    values: dict[int, float]
    mean: float | None = None


def account(policy: Policy, config: str) -> Account:
    board, values = policy.board, trail(policy.board, config)
    if config in board.failed:
        return Account("failed", f"a score of fold {board.failed[config][1]} is not a number", values)
    if board.complete(config):
        return Account("complete", "", values, math.fsum(board.scores(config)) / board.folds)
    reason = policy.why(config) if values else None
    return Account("pruned" if reason else "running", reason or "", values)


def trail(board: Board, config: str) -> dict[int, float]:
    """Some of the curve of fold 0, then the mean over the folds after each further one, at steps that count through.

    At the same step every config has been through the same folds, so these values can be compared as they are.
    """
    steps, curve = board.entrants[config].steps, board.curve(config, 0)
    shown = steps[:: -math.ceil(len(steps) / POINTS)][::-1]
    values = {step: curve[step] for step in shown if math.isfinite(curve.get(step, math.nan))}
    full: list[float] = []
    for fold in range(board.folds):
        score = board.full(config, fold)
        if score is None or not math.isfinite(score):
            break
        full.append(score)
        values[(fold + 1) * steps[-1]] = math.fsum(full) / len(full)
    return values


def expected(policy: Policy) -> dict[str, float]:
    """What each config that has been screened should give over all folds, by all that is known now.

    The race's own estimate, without its doubt whether gains that nobody saw may differ: what a fold has over
    others and a rung lacks to the end is taken out of it, and a complete config has its mean. One that failed is as
    bad as the worst: it must not be proposed again.
    """
    board, prior = policy.board, usual_prior()
    sheet = Sheet(board, policy.rungs)
    for entrant in board.entrants.values():
        sheet.add(entrant)
    for row, config in enumerate(sheet.names):
        for fold in range(board.folds):
            for step in sheet.steps[row]:
                if (score := board.score(config, fold, step)) is not None:
                    sheet.write(Report(config, fold, step, score, 0.0))
    table = forecast_all(sheet, prior, apart=0.0)
    screened = sheet.alive & table.known.any(axis=1)
    if not screened.any():
        return {}
    mean = stand(table, prior, screened).mean
    found = {sheet.names[row]: float(mean[row]) for row in np.flatnonzero(screened)}
    return found | dict.fromkeys(board.failed, min(found.values()))
