"""Tables of scores with known truth, and as trials and curves."""

import numpy as np
import pandas as pd

from analysis.statistics.expected_scores import ExpectedScores

STEPS, HORIZON = (30, 45, 50, 100), 100


def names(count):
    return pd.Index([f"c{number:02d}" for number in range(count)], name="config")


def full(scores):
    """Full-length scores in the form that the statistics use."""
    table = pd.DataFrame(np.asarray(scores, dtype=float))
    table.index = names(len(table))
    return ExpectedScores(table, table * 0.0)


def additive(rng, configs, folds, spread, noise):
    """Scores, and the mean of each config over these folds without noise."""
    quality = rng.normal(0, spread, configs)
    level = 0.85 + rng.normal(0, 0.017, folds)
    return level + quality[:, None] + rng.normal(0, noise, (configs, folds)), quality + level.mean()


def frames(curves, reached):
    """Trials and curves as tables; ``curves`` has the shape (steps, configs, folds)."""
    config, fold = np.indices(reached.shape).reshape(2, -1)
    step = reached.ravel()
    trials = pd.DataFrame({"config": names(len(reached))[config], "fold": fold, "step": step, "of": HORIZON})
    trials["state"] = np.where(step == HORIZON, "done", "paused")
    trials["full"] = np.where(step == HORIZON, curves[-1].ravel(), np.nan)
    at = np.array(STEPS)[:, None]
    index, cell = np.nonzero(at <= step)
    scores = curves.reshape(len(STEPS), -1)[index, cell]
    table = {"config": names(len(reached))[config[cell]], "fold": fold[cell], "step": at[index, 0], "score": scores}
    return trials, pd.DataFrame(table)
