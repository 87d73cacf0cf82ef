"""What a fold that paused at a rung would end with: its score there, and the gain that such curves made after it."""

from __future__ import annotations

import numpy as np

from search.mixed_model import Array, Prior, Table, fit


def forecast(table: Table, full: Array, rung: Array, shapes: Array, prior: Prior) -> Table:
    """Fill the cells of ``table`` that are unknown where ``rung`` is known, with the variance the forecast has.

    The gain from the rung to the end is a mixed model of its own: by fold, by the score at the rung and the shape of
    the curve before it (both in fold 0, where everybody has one), by the parameters, and by the config's own gains.
    """
    need = np.isfinite(rung) & ~table.known
    if not need.any():
        return table
    folds = full.shape[1]
    gains = full - rung
    design = np.concatenate([_scaled(np.concatenate([rung[:, :1], shapes], axis=1)), table.design], axis=1)
    model = fit(Table(gains, np.zeros_like(gains), design), prior)
    measured = np.isfinite(gains).any(0)
    scores, extra = table.scores.copy(), table.extra.copy()
    moved = model.loading.copy()
    moved[:, folds:] += design
    gain = design @ model.shared[folds:] + model.rest
    for fold in np.flatnonzero(need.any(0)):
        # where nobody finished a fold, the others stand in: what they are off by, the fold's own effect takes up
        anchors = [fold] if measured[fold] else list(np.flatnonzero(measured))
        here = moved.copy()
        here[:, anchors] += 1.0 / max(1, len(anchors))
        offset = float(model.shared[anchors].mean()) if anchors else 0.0
        variance = model.variances.noise + model.rest_variance + model.spread(here)
        rows = need[:, fold]
        scores[rows, fold] = (rung[:, fold] + offset + gain)[rows]
        extra[rows, fold] = variance[rows]
    return Table(scores, extra, table.design)


def _scaled(columns: Array) -> Array:
    """In standard deviations from the mean of those that are known; 0 where unknown."""
    known = np.isfinite(columns).all(1)
    if known.sum() < 2:
        return np.zeros_like(columns)
    centred = columns - columns[known].mean(0)
    return np.where(known[:, None], centred / (columns[known].std(0) + 1e-9), 0.0)
