"""How well main effects of the parameters predict the scores at a rung, and what that says about the rung's ranks."""

from dataclasses import dataclass

import numpy as np

from search.race.mixed_model import Array

SHARPENING = 6.0  # by how many rungs a predicted share of 1 would count more
MOST = 3.0  # rungs that one may count as
MIN_CONFIGS = 24  # with fewer, a prediction succeeds too often by luck


@dataclass(frozen=True)
class RungScores:
    """The scores that a rung ranks by, and how many ordinary rungs it counts as, from 1 to ``MOST``."""

    expected: Array
    power: float


def expect(scores: Array, design: Array) -> RungScores:
    """Where parameters act additively, other configs say much about each one, so that the rung is seldom wrong about
    the best: it may keep fewer, and ranks by a mean of each score and its prediction, at most half of it the latter.
    """
    errors, share = prediction_errors(scores, design)
    power = min(MOST, 1.0 + SHARPENING * share)
    return RungScores(scores - 0.5 * (power - 1.0) / (MOST - 1.0) * errors, power)


def prediction_errors(scores: Array, design: Array) -> tuple[Array, float]:
    """The error in predicting each config's score by the main effects of the others, and the share of the variance
    that is predicted, 0 if nothing is.

    Only the half with the best predictions counts: that a value of a parameter fails says nothing about the others.
    """
    nothing, count = (np.zeros(len(scores)), 0.0), len(scores)
    if count < MIN_CONFIGS or not design.shape[1] or not np.ptp(scores):
        return nothing
    columns = np.concatenate([np.ones((count, 1)), design], axis=1)
    hat = columns @ np.linalg.pinv(columns.T @ columns, hermitian=True)
    free = 1.0 - np.einsum("ij,ij->i", hat, columns)
    if free.min() < 1e-6:  # a config that alone determines an effect
        return nothing
    deviations = scores - scores.mean()
    errors = (deviations - hat @ (columns.T @ deviations)) / free
    predictions = deviations - errors
    better = predictions >= np.median(predictions)
    spread = deviations[better] - deviations[better].mean()
    share = 1.0 - float(errors[better] @ errors[better]) / float(spread @ spread) if spread.any() else 0.0
    return (errors, share) if share > 0.0 else nothing
