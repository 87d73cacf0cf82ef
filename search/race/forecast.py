"""Forecasts of full-length scores for folds that paused at a rung, from the gains that other configs made after it."""

import numpy as np

from search.race.mixed_model import Array, Prior, Table, Variances, fit
from search.race.prior import robust_spread
from search.race.score_matrix import ScoreMatrix

# How far gains may lie apart before any is known: a share of the variance between configs at the rung.
GAIN_SPREAD = 0.5
MIN_CONFIGS = 3  # at a rung, to estimate that variance


def forecast_all(matrix: ScoreMatrix, prior: Prior, gain_spread: float = GAIN_SPREAD) -> Table:
    """The full-length scores of a score matrix, with a forecast for each fold that has only reached a rung.

    Samplers pass ``gain_spread=0``: they need the most likely scores without the extra uncertainty, which keeps a race
    from pausing configs too early.
    """
    full = matrix.full
    count = np.isfinite(full).sum(0)
    fold_means = np.where(count, np.nansum(full, axis=0) / np.maximum(count, 1), np.nan)
    table = Table(full.copy(), np.zeros_like(full), matrix.design)
    for index in reversed(range(len(matrix.rungs))):
        for block in range(matrix.blocks.max(initial=-1) + 1):
            rows = np.flatnonzero(matrix.blocks == block)
            rung, shapes = matrix.reported_at_rung(index)[rows], matrix.shapes(index)[rows]
            part = forecast(table.part(rows), full[rows], rung, shapes, prior, fold_means, gain_spread)
            table.scores[rows], table.extra[rows] = part.scores, part.extra
    return table


def forecast(
    table: Table,
    full: Array,
    rung: Array,
    shapes: Array,
    prior: Prior,
    fold_means: Array,
    gain_spread: float = GAIN_SPREAD,
) -> Table:
    """Fill the unknown cells of ``table`` whose ``rung`` score is known, with the variance of the forecast.

    The gain from the rung to the horizon is a second mixed model. Its effects are the fold, the parameters, and the
    score at the rung with the shape of the curve before it (both of fold 0, which every config trains). In a fold
    without a known gain, the configs at the rung are assumed to be as good on average as those at full length
    (``fold_means``), so that a score at a rung never counts as a low full-length score.
    """
    missing = np.isfinite(rung) & ~table.known
    if not missing.any():
        return table
    folds = full.shape[1]
    gains = full - rung
    design = np.concatenate([_standardised(np.concatenate([rung[:, :1], shapes], axis=1)), table.design], axis=1)
    model = fit(Table(gains, np.zeros_like(gains), design), _gain_prior(prior, rung[:, 0], gain_spread))
    measured = np.asarray(np.isfinite(gains).any(axis=0))
    scores, extra = table.scores.copy(), table.extra.copy()
    loading = model.loading.copy()
    loading[:, folds:] += design
    gain = design @ model.shared[folds:] + model.rest
    for fold in np.flatnonzero(missing.any(0)):
        rows = np.flatnonzero(missing[:, fold])
        combination = loading[rows]
        final = rung[rows, fold] + gain[rows]
        variance = model.noise[rows] + model.rest_variance[rows]
        if measured[fold]:
            combination[:, fold] += 1.0
            final += model.shared[fold]
            variance = variance + model.spread(combination)
        else:  # only differences between configs are known; one variance for all keeps the best at the rung first
            known = np.isfinite(fold_means[fold])
            final += (fold_means[fold] if known else 0.0) - final.mean()
            variance = variance + (prior.variances.rest if known else 0.0)
            variance = (variance + model.spread(combination)).mean()
        scores[rows, fold] = final
        extra[rows, fold] = variance
    return Table(scores, extra, table.design)


def _gain_prior(prior: Prior, rung: Array, gain_spread: float) -> Prior:
    """The further configs lie apart at the rung, the more their gains may differ, so that a low one may catch up."""
    reached = rung[np.isfinite(rung)]
    if len(reached) < MIN_CONFIGS:
        return prior
    least, usual = gain_spread * robust_spread(reached) ** 2, prior.variances
    return Prior(Variances(usual.noise, max(usual.rest, least), max(usual.effect, least)), prior.weight)


def _standardised(columns: Array) -> Array:
    """Standard deviations from the mean of the known rows; 0 where unknown."""
    known = np.asarray(np.isfinite(columns).all(axis=1))
    if known.sum() < 2:
        return np.zeros_like(columns)
    centred, deviation = columns - columns[known].mean(0), columns[known].std(0)
    usable = deviation > 1e-9 * np.abs(columns[known]).max(0)
    return np.where(known[:, None] & usable, centred / np.where(usable, deviation, 1.0), 0.0)
