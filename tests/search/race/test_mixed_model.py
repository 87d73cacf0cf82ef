"""The mixed model on tables that can be computed by hand."""

import numpy as np
import pytest

from search.race.forecast import forecast
from search.race.mixed_model import Prior, Table, Variances, fit, solve
from search.race.standings import compare, expected_means

FIXED = 1e9  # observations that the prior counts as, which fixes the variances


def fixed(noise, rest, effect=1e-4):
    return Prior(Variances(noise, rest, effect), FIXED)


def table(scores, design=None):
    scores = np.array(scores, dtype=float)
    return Table(scores, np.zeros_like(scores), np.zeros((len(scores), 0)) if design is None else np.array(design))


def test_a_balanced_table_gives_shrunken_differences_of_means():
    # theta_c = n * (mean_c - mean) / (n + s2/tau2): means 0.82 and 0.80, n = 2, s2/tau2 = 1, so 2 * 0.01 / 3
    # (solve, because fit would also estimate the noise of each config)
    scores = table([[0.83, 0.81], [0.81, 0.79]])
    model = solve(scores, scores.scores, scores.known, Variances(1e-4, 1e-4, 1e-4))
    assert model.rest == pytest.approx([0.02 / 3, -0.02 / 3], abs=1e-6)
    assert model.shared == pytest.approx([0.82, 0.80], abs=1e-5)


def test_a_config_is_not_penalised_for_a_difficult_fold():
    nan = np.nan
    # c2 trained only the difficult fold, where it beat c0; c1 trained only the easy one, where it lost to c0
    standings = compare(
        table([[0.90, 0.80], [0.89, nan], [nan, 0.81]]), fixed(1e-6, 1e-4), np.array([True, True, True])
    )
    assert standings.leader == 2
    assert standings.mean[1] < standings.mean[0] < standings.mean[2]


def test_the_chance_of_a_config_without_scores_is_that_of_its_prior():
    # the leader is complete, so its mean is certain; the last config has only its prior
    scores = [[0.80, 0.80], [0.78, 0.78], [0.79, 0.79], [np.nan, np.nan]]
    standings = compare(table(scores), fixed(1e-8, 1e-4), np.array([True] * 4))
    assert standings.chance[1] < 1e-6
    # mu = 0.79 with variance tau2 / 3: z = 0.01 / sqrt(1e-4 * 4 / 3) = 0.866, Phi(-0.866) = 0.193
    assert standings.chance[3] == pytest.approx(0.193, abs=0.002)


def test_complete_configs_are_certain():
    arguments = table([[0.80, 0.82], [0.81, 0.80]]), fixed(1e-4, 1e-4), np.array([True, True])
    standings = compare(*arguments)
    assert standings.mean == pytest.approx([0.81, 0.805])
    assert standings.chance == pytest.approx([1.0, 0.0], abs=1e-6)
    scores, prior = arguments[:2]
    anywhere = expected_means(scores, fit(scores, prior), prior, on_any_folds=True)
    assert 0.2 < anywhere.chance(0)[1] < 0.5  # it may be better on other folds


def test_noise_is_estimated_from_the_table():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 0.010, (60, 1)) + rng.normal(0, 0.017, 5) + rng.normal(0, 0.003, (60, 5))
    model = fit(table(scores), Prior(Variances(0.007**2, 0.010**2, 1e-4)))
    assert model.variances.noise**0.5 == pytest.approx(0.003, abs=0.0005)
    assert model.variances.rest**0.5 == pytest.approx(0.010, abs=0.0025)


def test_a_config_with_outliers_gets_noise_of_its_own():
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 0.010, (20, 1)) + rng.normal(0, 0.003, (20, 5))
    scores[3] += [0.1, -0.1, 0.1, -0.1, 0.0]
    model = fit(table(scores), Prior(Variances(0.007**2, 0.010**2, 1e-4)))
    others = np.delete(model.noise, 3)
    assert model.noise[3] > 9 * others.max()
    assert np.sqrt(others.mean()) < 0.02


def test_configs_that_share_a_value_inform_each_other():
    nan, design = np.nan, [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    model = compare(table([[0.9], [nan], [0.7], [nan]], design), fixed(1e-6, 1e-6, 1e-2), np.array([True] * 4))
    assert model.mean[1] > 0.85 > 0.75 > model.mean[3]


def test_a_forecast_is_the_score_at_the_rung_plus_the_gain_of_the_others():
    # full = rung + 0.1 wherever both are known
    rung = np.array([[0.70], [0.72], [0.71], [0.69]])
    full = np.array([[0.80], [0.82], [np.nan], [np.nan]])
    filled = forecast(table(full), full, rung, np.zeros((4, 2)), fixed(1e-6, 1e-6, 1e-6), np.array([0.81]))
    assert filled.scores[:, 0] == pytest.approx([0.80, 0.82, 0.81, 0.79], abs=0.002)
    assert filled.extra[0, 0] == 0.0 < filled.extra[2, 0]


def test_without_a_known_gain_a_rung_is_not_compared_with_full_lengths():
    rung = np.array([[0.30], [0.34]])
    full = np.full((2, 1), np.nan)
    filled = forecast(table(full), full, rung, np.zeros((2, 2)), fixed(1e-6, 1e-6), np.array([0.80]))
    assert filled.scores[:, 0] == pytest.approx([0.78, 0.82])
