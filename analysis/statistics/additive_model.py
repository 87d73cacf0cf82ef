"""The additive model score = fold + config + noise, integrated over the uncertainty of its variances.

It is for the effects of parameters; configs are compared by the model of the race, whatever the scheduler
(``search.race.answer``). For given variances both are the same (``search.race.mixed_model.solve``). The race uses a
prior; here the variances are estimated from the run alone, and intervals include their uncertainty.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.race.mixed_model import Array, Fit, Table, Variances, solve

COARSE = np.linspace(-8.0, 6.0, 22)  # logits of the share of the distance between configs that is noise
FINE = 25  # grid points where the posterior has its mass
NEGLIGIBLE = 10.0  # difference in log likelihood
SLOPE_VARIANCE = 1e6  # prior variance of a covariate's slope relative to the noise: practically unconstrained
MIN_NOISE = 1e-18  # sum of squares of scores that are all equal


@dataclass(frozen=True)
class Scores:
    """Configs x folds, NaN where unknown; the variance of each cell beyond the noise; covariates per config."""

    values: Array
    extra: Array
    covariates: Array

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.values)

    @property
    def freedom(self) -> int:
        """Degrees of freedom left for the variances after fold means and slopes; below 1 they cannot be estimated."""
        rows = self.covariates[self.known.any(axis=1)]
        slopes = np.linalg.matrix_rank(rows - rows.mean(axis=0)) if rows.size else 0
        return int(self.known.sum() - self.known.any(axis=0).sum() - slopes)


@dataclass(frozen=True)
class Posterior:
    """Fits at several ratios of the two variances, each with its weight and its estimate of the noise."""

    centre: float
    fits: Sequence[Fit]
    weights: Array
    noises: Array
    freedom: int
    covariates: int

    @property
    def noise(self) -> float:
        """Variance of the noise of a fold trial."""
        return float(self.weights @ self.noises)

    def mean_and_variance(self, combination: Array) -> tuple[Array, Array]:
        """Of each config's own part plus a linear combination (a row per config) of the shared part."""
        means, variances = [], []
        for fit, noise in zip(self.fits, self.noises, strict=True):
            means.append(combination @ fit.shared + fit.rest)
            variances.append(noise * (fit.spread(combination + fit.loading) + fit.rest_variance))
        mean = self.weights @ np.array(means)
        return self.centre + mean, self.weights @ (np.array(variances) + (np.array(means) - mean) ** 2)

    def draw_shared(self, count: int, rng: np.random.Generator) -> Array:
        """Posterior draws of the shared part alone: the folds, then the slopes of the covariates."""
        folds = self.fits[0].shared.size - self.covariates
        drawn = np.concatenate([fit.shared + scale * shared for fit, shared, scale in self._draws(count, rng)])
        drawn[:, :folds] += self.centre
        return drawn

    def _draws(self, count: int, rng: np.random.Generator) -> Iterator[tuple[Fit, Array, Array]]:
        """For each fit: draws of the shared part's error in units of the noise, and of the noise's sd."""
        counts = rng.multinomial(count, self.weights)
        for fit, noise, times in zip(self.fits, self.noises, counts, strict=True):
            shared = rng.standard_normal((times, len(fit.shared))) @ np.linalg.cholesky(fit.covariance).T
            yield fit, shared, np.sqrt(noise * self.freedom / rng.chisquare(self.freedom, times))[:, None]


def fit_scores(scores: Scores) -> Posterior:
    """Integrate over the ratio of the variances; the noise given the ratio has a closed form.

    The share of noise in the distance between configs has a uniform prior, whose intervals are known to reach their
    nominal coverage with few configs too (Daniels 1999).
    """
    if scores.freedom < 1:
        raise ValueError("too few scores to estimate their noise")
    known = scores.known
    centre = float(scores.values[known].mean())
    values = np.where(known, scores.values - centre, 0.0)
    noise = _initial_noise(scores) if scores.extra.any() else 1.0
    table = Table(scores.values, scores.extra / noise, scores.covariates)
    freedom = scores.freedom
    likelihoods = np.array([_fit_at(logit, table, values, freedom)[2] for logit in COARSE])
    near = np.flatnonzero(likelihoods > likelihoods.max() - NEGLIGIBLE)
    span = COARSE[max(near[0] - 1, 0)], COARSE[min(near[-1] + 1, len(COARSE) - 1)]
    found = [_fit_at(logit, table, values, freedom) for logit in np.linspace(*span, FINE)]
    fits, noises, fine = zip(*found, strict=True)
    weights = np.exp(np.array(fine) - max(fine))
    slopes = scores.covariates.shape[1]
    return Posterior(centre, fits, weights / weights.sum(), np.array(noises), freedom, slopes)


def _initial_noise(scores: Scores) -> float:
    """Estimate the noise from the full-length scores if there are enough, otherwise from all."""
    full = Scores(np.where(scores.extra > 0, np.nan, scores.values), np.zeros_like(scores.extra), scores.covariates)
    sample = full if full.freedom >= 1 else Scores(scores.values, np.zeros_like(scores.extra), scores.covariates)
    return fit_scores(sample).noise


def _fit_at(logit: float, table: Table, values: Array, freedom: int) -> tuple[Fit, float, float]:
    """The fit in units of the noise, the noise, and the log posterior (restricted likelihood and prior)."""
    folds = values.shape[1]
    weights = table.known / (1.0 + table.extra)
    counts = weights.sum(axis=1)
    ratio = float(np.exp(-logit) / counts[counts > 0].mean())
    fit = solve(table, values, table.known, Variances(1.0, ratio, SLOPE_VARIANCE))
    fitted = fit.shared[:folds] + (table.design @ fit.shared[folds:] + fit.rest)[:, None]
    squares = max(float((weights * values * (values - fitted)).sum()), MIN_NOISE)
    certainty = np.linalg.slogdet(fit.covariance)[1] - np.log1p(ratio * counts).sum() - freedom * np.log(squares)
    flat = -np.logaddexp(0.0, logit) - np.logaddexp(0.0, -logit)
    return fit, squares / freedom, float(0.5 * certainty + flat)
