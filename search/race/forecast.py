"""What a fold that paused at a rung would end with: its score there, and the gain that such curves made
after it.
"""

from __future__ import annotations

import numpy as np

from search.race.mixed_model import Array, Prior, Table, Variances, fit
from search.race.score_matrix import ScoreMatrix

# How far apart gains may lie before any is known: a share of the variance that the configs show at the rung.
GAIN_SPREAD = 0.5
MIN_CONFIGS = 3  # configs at the rung that show a spread


def forecast_all(score_matrix: ScoreMatrix, prior: Prior, gain_spread: float = GAIN_SPREAD) -> Table:
    """The full-length scores of a sheet, with forecasts where a fold only reached a rung.

    ``apart`` is for whoever gives up on what the forecasts say; with 0 they are what is likeliest, without that doubt.
    """
    full = score_matrix.full
    count = np.isfinite(full).sum(0)
    levels = np.where(count, np.nansum(full, axis=0) / np.maximum(count, 1), np.nan)
    table = Table(full.copy(), np.zeros_like(full), score_matrix.design)
    for place in reversed(range(len(score_matrix.rungs))):
        for block in range(score_matrix.blocks.max(initial=-1) + 1):
            rows = np.flatnonzero(score_matrix.blocks == block)
            rung, shapes = score_matrix.at(place)[rows], score_matrix.shapes(place)[rows]
            part = forecast(table.part(rows), full[rows], rung, shapes, prior, levels, gain_spread)
            table.scores[rows], table.extra[rows] = part.scores, part.extra
    return table


def forecast(
    table: Table, full: Array, rung: Array, shapes: Array, prior: Prior, levels: Array, gain_spread: float = GAIN_SPREAD
) -> Table:
    """Fill the cells of ``table`` that are unknown where ``rung`` is known, with the variance the forecast
    has.

    The gain from the rung to the end is a mixed model of its own: by fold, by the score at the rung and the
    shape of the curve before it (both in fold 0, where everybody has one), by the parameters, and by the
    config's own gains. In a fold where no such gain is known, the configs at the rung are taken to be as good
    on average as those at full length (``levels``, by fold): a rung is never held against a full length.
    """
    need = np.isfinite(rung) & ~table.known
    if not need.any():
        return table
    folds = full.shape[1]
    gains = full - rung
    design = np.concatenate([_scaled(np.concatenate([rung[:, :1], shapes], axis=1)), table.design], axis=1)
    model = fit(Table(gains, np.zeros_like(gains), design), _of_gains(prior, rung[:, 0], gain_spread))
    measured = np.asarray(np.isfinite(gains).any(axis=0))
    scores, extra = table.scores.copy(), table.extra.copy()
    moved = model.loading.copy()
    moved[:, folds:] += design
    gain = design @ model.shared[folds:] + model.rest
    for fold in np.flatnonzero(need.any(0)):
        rows = np.flatnonzero(need[:, fold])
        here = moved[rows]
        ends = rung[rows, fold] + gain[rows]
        variance = model.variances.noise + model.rest_variance[rows]
        if measured[fold]:
            here[:, fold] += 1.0
            ends += model.shared[fold]
            variance = variance + model.spread(here)
        else:  # only the differences between these configs are known, and those of all alike: the best comes first
            ends += (levels[fold] if np.isfinite(levels[fold]) else 0.0) - ends.mean()
            variance = variance + (prior.variances.rest if np.isfinite(levels[fold]) else 0.0)
            variance = (variance + model.spread(here)).mean()
        scores[rows, fold] = ends
        extra[rows, fold] = variance
    return Table(scores, extra, table.design)


def _of_gains(prior: Prior, rung: Array, gain_spread: float) -> Prior:
    """Configs that stand far apart at the rung are far from their ends, and whoever is behind may catch up as much.

    The spread is that of most, whatever a few that learned nothing do to it.
    """
    there = rung[np.isfinite(rung)]
    if len(there) < MIN_CONFIGS:
        return prior
    least = gain_spread * (1.4826 * float(np.median(np.abs(there - np.median(there))))) ** 2
    of = prior.variances
    return Prior(Variances(of.noise, max(of.rest, least), max(of.effect, least)), prior.weight)


def _scaled(columns: Array) -> Array:
    """In standard deviations from the mean of those that are known; 0 where unknown."""
    known = np.asarray(np.isfinite(columns).all(axis=1))
    if known.sum() < 2:
        return np.zeros_like(columns)
    centred = columns - columns[known].mean(0)
    return np.where(known[:, None], centred / (columns[known].std(0) + 1e-9), 0.0)
