"""A linear mixed model of scores: score = fold + main effects of the parameters + remainder of the config + noise.

Fold effects are unconstrained; main effects and remainders are Gaussian, and so is the noise of a config, whose
variance is drawn towards that of all configs. The variances are estimated from the table, with a prior that dominates
while the table is small. Given the variances, all results are exact. Everything is relative to the prior, so that
scores on another scale lead to the same results on that scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EM_ROUNDS = 6  # the variances have converged by then
MAX_SAMPLE = 128  # configs that the variances are estimated from
FOLD_PRECISION = 1e-6  # of the prior of a fold effect, relative to that of the noise: practically none
OWN_NOISE = 4.0  # how many scores of its own it takes until a config's noise counts as much as that of all configs


@dataclass(frozen=True)
class Variances:
    """The variances of a fold trial's noise, a config's remainder and a main effect."""

    noise: float
    rest: float
    effect: float


@dataclass(frozen=True)
class Prior:
    """The variances assumed before there is data, and how many observations they count as."""

    variances: Variances
    weight: float = 4.0


@dataclass(frozen=True)
class Table:
    """Scores (configs x folds, NaN where unknown), the variance of each beyond the noise, and the design matrix.

    ``extra`` is 0 for measured scores and positive for forecasts; ``design`` has one row per config.
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
    """The effects that configs share (folds, then main effects) with their covariance, and each config's remainder.

    ``noise`` is the variance of each config's fold trials. The remainder is conditional on the shared effects: ``rest``
    is its mean at their estimates, ``loading`` its derivative with respect to them, ``rest_variance`` its variance.
    """

    variances: Variances
    noise: Array
    shared: Array
    covariance: Array
    rest: Array
    rest_variance: Array
    loading: Array

    def spread(self, combination: Array) -> Array:
        """The variance of each row's linear combination of the shared effects."""
        return np.asarray(((combination @ self.covariance) * combination) @ np.ones(len(self.shared)))


def fit(table: Table, prior: Prior) -> Fit:
    """Fit the model, with variances by expectation maximisation."""
    known = table.known
    centre = float(table.scores[known].mean()) if known.any() else 0.0
    values = np.where(known, table.scores - centre, 0.0)
    scored = np.flatnonzero(known @ np.ones(known.shape[1]))
    rows = scored[:: max(1, -(-len(scored) // MAX_SAMPLE))]
    sample, variances, factors = table.part(rows), prior.variances, np.ones(len(rows))
    for _ in range(EM_ROUNDS):
        model = solve(sample, values[rows], known[rows], variances, factors)
        variances, factors = _update(model, sample, values[rows], known[rows], prior)
    own = np.ones(len(known))
    own[rows] = factors
    if len(rows) < len(scored):
        own = _factors(_squares(solve(table, values, known, variances, own), table, values, known), known, variances)
    final = solve(table, values, known, variances, own)
    final.shared[: known.shape[1]] += centre
    return final


def solve(
    table: Table, values: Array, known: NDArray[np.bool_], variances: Variances, factors: Array | float = 1.0
) -> Fit:
    """Generalised least squares with each config's remainder integrated out by the Sherman-Morrison formula.

    ``factors`` are the noise of each config relative to ``variances.noise``.
    """
    folds, design = values.shape[1], table.design
    noise = np.broadcast_to(variances.noise * factors, len(values))
    weights = known / (noise[:, None] + table.extra)
    evidence = weights * values
    # Multiplying by ones sums over few rows or columns much faster than sum().
    across, down = np.ones(folds), np.ones(len(values))
    total = weights @ across
    shrunk = variances.rest / (1.0 + variances.rest * total)
    taken = shrunk * total  # the share of its evidence that goes into a config's remainder
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
    diagonal[:folds] += down @ weights + FOLD_PRECISION / variances.noise
    diagonal[folds:] += 1.0 / variances.effect
    right = np.concatenate([down @ evidence - scaled.T @ weighted, design.T @ (weighted * left)])
    covariance = np.linalg.inv(normal)
    shared = covariance @ right
    loading = np.empty((len(values), size))
    np.negative(scaled, out=loading[:, :folds])
    np.multiply(design, -taken[:, None], out=loading[:, folds:])
    return Fit(variances, noise, shared, covariance, shrunk * weighted + loading @ shared, shrunk, loading)


def _update(fit: Fit, table: Table, values: Array, known: NDArray[np.bool_], prior: Prior) -> tuple[Variances, Array]:
    """One step of expectation maximisation, in which the prior counts as ``prior.weight`` observations.

    A config with a single score says next to nothing about noise, and many of them would only slow the convergence.
    """
    folds, weight = values.shape[1], prior.weight
    rest = float(fit.rest @ fit.rest + fit.rest_variance.sum() + np.vdot(fit.loading @ fit.covariance, fit.loading))
    effects = fit.shared[folds:]
    effect = float(effects @ effects + np.trace(fit.covariance[folds:, folds:]))
    squares = _squares(fit, table, values, known)
    factors = _factors(squares, known, fit.variances)
    counts = known @ np.ones(folds)
    repeated = counts > 1
    variances = Variances(
        (weight * prior.variances.noise + float((squares / factors)[repeated].sum()))
        / (weight + counts[repeated].sum()),
        (weight * prior.variances.rest + rest) / (weight + len(values)),
        (weight * prior.variances.effect + effect) / (weight + len(effects)),
    )
    return variances, factors


def _squares(fit: Fit, table: Table, values: Array, known: NDArray[np.bool_]) -> Array:
    """The expected sum of squares of each config's noise."""
    folds, noise = values.shape[1], fit.noise[:, None]
    residual = values - fit.shared[:folds] - (table.design @ fit.shared[folds:] + fit.rest)[:, None]
    loading = fit.loading.copy()
    loading[:, folds:] += table.design
    shift = loading @ fit.covariance
    uncertainty = (fit.rest_variance + (shift * loading) @ np.ones(len(fit.shared)))[:, None]
    uncertainty = uncertainty + 2.0 * shift[:, :folds] + np.diag(fit.covariance)[:folds]
    trust = noise / (noise + table.extra)
    return np.asarray((known * (trust**2 * (residual**2 + uncertainty) + noise * (1.0 - trust))) @ np.ones(folds))


def _factors(squares: Array, known: NDArray[np.bool_], variances: Variances) -> Array:
    """The noise of each config relative to that of all configs, which counts as OWN_NOISE scores."""
    return np.asarray((OWN_NOISE + squares / variances.noise) / (OWN_NOISE + known @ np.ones(known.shape[1])))
