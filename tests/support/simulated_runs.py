"""Simulated runs with known true scores: tables of scores, and the part that a fold race leaves of them."""

import numpy as np
import pandas as pd

from analysis.statistics.expected_scores import ExpectedScores

STEPS, RUNG, HORIZON = (30, 45, 50, 100), 50, 100


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


def raced(rng, configs=72, folds=5, spread=0.010, noise=0.006):
    """Trials and curves of a race, and the true scores.

    The best configs at the rung of fold 0 continue, then the best of each fold; in later folds, others pause at the
    rung.
    """
    final, truth = additive(rng, configs, folds, spread, noise)
    pace = np.exp(0.2 * rng.normal(size=(configs, 1)) + 0.05 * rng.normal(size=(configs, folds)))
    missing = [0.35 * (np.exp(-step / 100 / (0.12 * pace)) - np.exp(-1 / (0.12 * pace))) for step in STEPS]
    curves = final - np.array(missing)
    curves[:-1] += rng.normal(0, 0.0015, curves[:-1].shape)
    reached = np.zeros((configs, folds), dtype=int)
    running = np.arange(configs)
    for fold in range(folds):
        reached[running, fold] = RUNG
        before = final[running, :fold].sum(axis=1) + curves[STEPS.index(RUNG), running, fold]
        running = running[np.argsort(-before)[: max(3, int((0.6 if fold == 0 else 0.7) * len(running)))]]
        reached[running, fold] = HORIZON
        mean = final[running, : fold + 1].mean(axis=1)
        running = running[np.argsort(-mean)[: max(3, len(running) // 2)]]
    return frames(curves, reached), pd.Series(truth, names(configs))


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
