"""The table configs x folds as a linear mixed model: score = fold + main effects of the parameters + rest
+ noise.

Folds are free; main effects, rest and noise are Gaussian. Their variances are estimated from the table
itself, held by a prior while it is small; given the variances, everything here is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ROUNDS = 6  # of expectation maximisation; the variances have settled by then
ENOUGH = 128  # configs to estimate the variances from, where there are more
FREE = 1e-4  # the precision of a fold's effect, in units of the score: as good as none


@dataclass(frozen=True)
class Variances:
    """Of a fold trial's noise, of a config's rest, and of a main effect."""

    noise: float
    rest: float
    effect: float


@dataclass(frozen=True)
class Prior:
    """What the variances are taken for before there is data, and how many observations that is worth."""

    variances: Variances
    weight: float = 6.0


@dataclass(frozen=True)
class Table:
    """Scores, NaN where unknown; the variance a score has beyond the noise, as a forecast does; columns
    per config.
    """

    scores: Array
    extra: Array
    design: Array

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.scores)

    def part(self, rows: NDArray[np.int_]) -> Table:
        return Table(self.scores[rows], self.extra[rows], self.design[rows])


@dataclass(frozen=True)
class Fit:
    """What the configs share (the folds, then the main effects) with its covariance, and each config's rest.

    The rest is given what is shared: ``rest`` at its estimate, ``loading`` how it moves with it,
    ``rest_variance`` around it.
    """

    variances: Variances
    shared: Array
    covariance: Array
    rest: Array
    rest_variance: Array
    loading: Array

    def spread(self, combination: Array) -> Array:
        """The variance of a linear combination of the shared part, one for each row."""
        return np.asarray(((combination @ self.covariance) * combination) @ np.ones(len(self.shared)))


def fit(table: Table, prior: Prior, caution: float = 0.0) -> Fit:
    """``caution`` takes the noise for that many standard errors more than its estimate."""
    known = table.known
    centre = float(table.scores[known].mean()) if known.any() else 0.0
    seen = np.flatnonzero(known @ np.ones(known.shape[1]))
    sample = table.part(seen[:: max(1, -(-len(seen) // ENOUGH))])
    variances = _variances(sample, centre, prior)
    if caution:
        freedom = prior.weight + max(0, int(known.sum()) - len(seen))
        noise = variances.noise * (1.0 + caution * (2.0 / freedom) ** 0.5)
        variances = Variances(noise, variances.rest, variances.effect)
    final = solve(table, np.where(known, table.scores - centre, 0.0), known, variances)
    final.shared[: known.shape[1]] += centre
    return final


def _variances(table: Table, centre: float, prior: Prior) -> Variances:
    known, variances = table.known, prior.variances
    values = np.where(known, table.scores - centre, 0.0)
    for _ in range(ROUNDS):
        variances = _update(solve(table, values, known, variances), table, values, known, prior)
    return variances


def solve(table: Table, values: Array, known: NDArray[np.bool_], variances: Variances) -> Fit:
    """Generalised least squares with the rest of every config integrated out (Sherman-Morrison, config by
    config).
    """
    folds, design = values.shape[1], table.design
    weights = known / (variances.noise + table.extra)
    evidence = weights * values
    # a product with ones is a much faster sum over few rows or columns
    across, down = np.ones(folds), np.ones(len(values))
    total = weights @ across
    shrunk = variances.rest / (1.0 + variances.rest * total)
    taken = shrunk * total  # the share of its evidence that a config's rest takes
    left = 1.0 - taken
    weighted = evidence @ across
    scaled = weights * shrunk[:, None]
    size = folds + design.shape[1]
    normal = np.empty((size, size))
    normal[:folds, :folds] = weights.T @ -scaled
    normal[:folds, folds:] = (weights * left[:, None]).T @ design
    normal[folds:, :folds] = normal[:folds, folds:].T
    normal[folds:, folds:] = (design * (total * left)[:, None]).T @ design
    diagonal = normal.reshape(-1)[:: size + 1]
    diagonal[:folds] += down @ weights + FREE
    diagonal[folds:] += 1.0 / variances.effect
    right = np.concatenate([down @ evidence - scaled.T @ weighted, design.T @ (weighted * left)])
    covariance = np.linalg.inv(normal)
    shared = covariance @ right
    loading = np.empty((len(values), size))
    np.negative(scaled, out=loading[:, :folds])
    np.multiply(design, -taken[:, None], out=loading[:, folds:])
    return Fit(variances, shared, covariance, shrunk * weighted + loading @ shared, shrunk, loading)


def _update(fit: Fit, table: Table, values: Array, known: NDArray[np.bool_], prior: Prior) -> Variances:
    """One step of expectation maximisation; the prior counts as observations made before."""
    folds, noise, weight = values.shape[1], fit.variances.noise, prior.weight
    rest = float(fit.rest @ fit.rest + fit.rest_variance.sum() + np.vdot(fit.loading @ fit.covariance, fit.loading))
    effects = fit.shared[folds:]
    effect = float(effects @ effects + np.trace(fit.covariance[folds:, folds:]))
    residual = values - fit.shared[:folds] - (table.design @ effects + fit.rest)[:, None]
    moved = fit.loading.copy()
    moved[:, folds:] += table.design
    shift = moved @ fit.covariance
    around = (fit.rest_variance + (shift * moved) @ np.ones(len(fit.shared)))[:, None]
    around = around + 2.0 * shift[:, :folds] + np.diag(fit.covariance)[:folds]
    trust = noise / (noise + table.extra)
    missed = float(np.vdot(known, trust**2 * (residual**2 + around) + noise * (1.0 - trust)))
    return Variances(
        (weight * prior.variances.noise + missed) / (weight + float(known.sum())),
        (weight * prior.variances.rest + rest) / (weight + len(values)),
        (weight * prior.variances.effect + effect) / (weight + len(effects)),
    )
