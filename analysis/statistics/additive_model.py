"""The additive model score = fold + config + noise, with what is not known about its variances.

For given variances it is the race's own model (``search.race.mixed_model.solve``). The race takes a prior and holds
the noise too high rather than too low, because pruning too early cannot be undone. A report must not lean to
either side: here the run alone says what the variances are, and intervals are as wide as it leaves them open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.race.mixed_model import Array, Fit, Table, Variances, solve

COARSE = np.linspace(-8.0, 6.0, 22)  # logits of the share of a config's distance that is noise
FINE = 25  # points where the mass is
NEGLIGIBLE = 10.0  # in log likelihood
STEEP = 1e6  # the variance of a covariate's slope, in units of the noise's: as good as free
LEAST = 1e-18  # the noise of scores that are all the same


@dataclass(frozen=True)
class Scores:
    """Configs x folds, NaN where unknown; the variance a cell has beyond the noise; covariates per config."""

    values: Array
    extra: Array
    covariates: Array

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.values)

    @property
    def freedom(self) -> int:
        """What is left for the variances once every fold has its mean and every covariate its slope; below 1 nothing
        can be said of them.
        """
        rows = self.covariates[self.known.any(axis=1)]
        slopes = np.linalg.matrix_rank(rows - rows.mean(axis=0)) if rows.size else 0
        return int(self.known.sum() - self.known.any(axis=0).sum() - slopes)


@dataclass(frozen=True)
class Posterior:
    """The fits at some ratios of the two variances, each with its weight and its estimate of the noise."""

    centre: float
    fits: Sequence[Fit]
    weights: Array
    noises: Array
    freedom: int
    covariates: int

    @property
    def noise(self) -> float:
        """The variance of a fold trial."""
        return float(self.weights @ self.noises)

    @property
    def spread(self) -> float:
        """The variance between configs."""
        ratios = np.array([fit.variances.rest for fit in self.fits])
        return float(self.weights @ (self.noises * ratios))

    def expect(self, combination: Array) -> tuple[Array, Array]:
        """Mean and variance of: what the combination takes of the shared part, plus the config's own."""
        means, variances = [], []
        for fit, noise in zip(self.fits, self.noises, strict=True):
            means.append(combination @ fit.shared + fit.rest)
            variances.append(noise * (fit.spread(combination + fit.loading) + fit.rest_variance))
        mean = self.weights @ np.array(means)
        return self.centre + mean, self.weights @ (np.array(variances) + (np.array(means) - mean) ** 2)

    def draw(self, combination: Array, count: int, rng: np.random.Generator) -> Array:
        """The same by simulation, a row per draw: what is uncertain in common stays in common."""
        drawn = []
        for fit, shared, scale in self._draws(count, rng):
            own = rng.standard_normal((len(scale), len(fit.rest))) * np.sqrt(fit.rest_variance)
            drawn.append(combination @ fit.shared + fit.rest + scale * (shared @ (combination + fit.loading).T + own))
        return np.asarray(self.centre + np.concatenate(drawn))

    def draw_shared(self, count: int, rng: np.random.Generator) -> Array:
        """Of the shared part alone: the folds, then the slopes of the covariates."""
        folds = self.fits[0].shared.size - self.covariates
        drawn = np.concatenate([fit.shared + scale * shared for fit, shared, scale in self._draws(count, rng)])
        drawn[:, :folds] += self.centre
        return drawn

    def _draws(self, count: int, rng: np.random.Generator) -> Iterator[tuple[Fit, Array, Array]]:
        """The shared part's distance from its estimate in units of the noise, and the noise's standard deviation."""
        counts = rng.multinomial(count, self.weights)
        for fit, noise, times in zip(self.fits, self.noises, counts, strict=True):
            shared = rng.standard_normal((times, len(fit.shared))) @ np.linalg.cholesky(fit.covariance).T
            yield fit, shared, np.sqrt(noise * self.freedom / rng.chisquare(self.freedom, times))[:, None]


def fit_scores(scores: Scores) -> Posterior:
    """Integrate over the ratio of the variances; the noise given the ratio has a closed form.

    The share of noise in a config's distance from the others is taken to be anything from 0 to 1 alike, which
    is known to give intervals that cover what they say also where there are few configs (Daniels 1999).
    """
    if scores.freedom < 1:
        raise ValueError("fewer than two scores in every fold: their noise cannot be known")
    known = scores.known
    centre = float(scores.values[known].mean())
    values = np.where(known, scores.values - centre, 0.0)
    noise = _noise_of_full(scores) if scores.extra.any() else 1.0
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


def _noise_of_full(scores: Scores) -> float:
    """From the cells that are certain, where there are enough; else from all of them."""
    full = Scores(np.where(scores.extra > 0, np.nan, scores.values), np.zeros_like(scores.extra), scores.covariates)
    sample = full if full.freedom >= 1 else Scores(scores.values, np.zeros_like(scores.extra), scores.covariates)
    return fit_scores(sample).noise


def _fit_at(logit: float, table: Table, values: Array, freedom: int) -> tuple[Fit, float, float]:
    """The fit in units of the noise, the noise, and the log posterior (restricted likelihood and prior)."""
    folds = values.shape[1]
    weights = table.known / (1.0 + table.extra)
    counts = weights.sum(axis=1)
    ratio = float(np.exp(-logit) / counts[counts > 0].mean())
    fit = solve(table, values, table.known, Variances(1.0, ratio, STEEP))
    fitted = fit.shared[:folds] + (table.design @ fit.shared[folds:] + fit.rest)[:, None]
    squares = max(float((weights * values * (values - fitted)).sum()), LEAST)
    certainty = np.linalg.slogdet(fit.covariance)[1] - np.log1p(ratio * counts).sum() - freedom * np.log(squares)
    flat = -np.logaddexp(0.0, logit) - np.logaddexp(0.0, -logit)
    return fit, squares / freedom, float(0.5 * certainty + flat)
