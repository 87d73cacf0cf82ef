"""Forecasts of paused fold trials, and the additive model that effects of parameters are estimated by."""

import numpy as np
import pytest
from simulated_runs import additive, frames

from analysis.statistics.additive_model import Scores, fit_scores
from analysis.statistics.expected_scores import expected_scores
from search.race.mixed_model import Prior, Table, Variances
from search.race.mixed_model import fit as race_fit

NAN = float("nan")


def test_a_paused_fold_trial_is_forecast_from_its_score_and_the_gain_of_finished_ones():
    # every curve gains 0.1 from the rung to the end; c3 paused at the rung of fold 0
    rng = np.random.default_rng(0)
    end = 0.8 + rng.normal(0, 0.01, (8, 2))
    curves = np.array([end - 0.3, end - 0.15, end - 0.1, end])
    reached = np.full((8, 2), 100)
    reached[3] = [50, 0]
    expected = expected_scores(*frames(curves, reached))
    assert expected.scores.loc["c03", 0] == pytest.approx(end[3, 0], abs=1e-6)
    assert np.isnan(expected.scores.loc["c03", 1])
    assert expected.variances.loc["c03", 0] > 0
    assert expected.variances.drop("c03").eq(0).all(axis=None)
    assert np.isnan(expected.full.loc["c03", 0])


def test_without_finished_fold_trials_there_is_no_forecast():
    reached = np.full((4, 2), 50)
    expected = expected_scores(*frames(np.random.default_rng(0).normal(0.8, 0.01, (4, 4, 2)), reached))
    assert expected.scores.isna().all(axis=None)


def test_a_config_with_a_failed_fold_is_left_out():
    trials, curves = frames(np.random.default_rng(0).normal(0.8, 0.01, (4, 4, 2)), np.full((4, 2), 100))
    trials.loc[(trials["config"] == "c01") & (trials["fold"] == 0), ["state", "full"]] = ["failed", NAN]
    assert expected_scores(trials, curves).scores.index.tolist() == ["c00", "c02", "c03"]
    assert expected_scores(trials.assign(state="failed"), curves).scores.empty


def test_given_the_same_variances_it_equals_the_model_of_the_race(monkeypatch):
    monkeypatch.setattr("search.race.mixed_model.OWN_NOISE", 1e12)  # every config has the noise of all
    values, _ = additive(np.random.default_rng(1), 20, 4, 0.01, 0.006)
    values[5:, 3] = NAN
    posterior = fit_scores(Scores(values, np.zeros_like(values), np.zeros((20, 0))))
    found = posterior.fits[12]
    fixed = Prior(Variances(posterior.noises[12], posterior.noises[12] * found.variances.rest, 1.0), 1e12)
    race = race_fit(Table(values, np.zeros_like(values), np.zeros((20, 0))), fixed)
    assert found.rest == pytest.approx(race.rest, abs=1e-6)
    assert found.shared + posterior.centre == pytest.approx(race.shared, abs=1e-6)


def test_the_variances_agree_with_restricted_likelihood_in_statsmodels():
    from statsmodels.regression.mixed_linear_model import MixedLM

    values, _ = additive(np.random.default_rng(2), 300, 5, 0.01, 0.006)
    posterior = fit_scores(Scores(values, np.zeros_like(values), np.zeros((300, 0))))
    config, fold = np.indices(values.shape).reshape(2, -1)
    model = MixedLM((values.ravel() - 0.85) * 100, np.eye(5)[fold], config).fit(reml=True)
    assert posterior.noise == pytest.approx(model.scale / 1e4, rel=0.01)
    spread = sum(
        weight * noise * fit.variances.rest
        for weight, noise, fit in zip(posterior.weights, posterior.noises, posterior.fits, strict=True)
    )
    assert spread == pytest.approx(float(model.cov_re[0, 0]) / 1e4, rel=0.03)
