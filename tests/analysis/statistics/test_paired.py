"""Both tests against numerical integration, values worked out by hand and tables of the t distribution."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from analysis.statistics.paired import ROPE, paired_test


def table(*differences):
    other = np.linspace(0.80, 0.84, len(differences))
    return pd.DataFrame([other + np.array(differences), other], index=["a", "b"])


def test_the_corrected_t_worked_out_by_hand():
    # mean 0.01, sd sqrt(0.0001 * 2 / 4 ...): deviations -1, 0, 1, -1, 1 hundredths: sd = sqrt(4 / 4) = 0.01;
    # variance of the mean 0.01^2 * (1/5 + 1/4) = 0.01^2 * 0.45; t = 1 / sqrt(0.45) = 1.4907, 4 degrees of freedom
    found = paired_test(table(0.00, 0.01, 0.02, 0.00, 0.02), "a", "b")
    assert found.difference == pytest.approx(0.01)
    assert found.t == pytest.approx(1.490712)
    # t quantile of 0.975 with 4 degrees of freedom is 2.776445
    assert found.low == pytest.approx(0.01 - 2.776445 * 0.01 * 0.45**0.5)
    assert found.high == pytest.approx(0.01 + 2.776445 * 0.01 * 0.45**0.5)
    assert 0.2 < found.p < 0.25  # 1.533 is the quantile of 0.9, so p is a little above 0.2


def test_without_the_correction_it_equals_the_paired_t_test_of_scipy():
    full = table(0.004, 0.011, 0.002, -0.003, 0.009)
    plain = stats.ttest_rel(full.loc["a"], full.loc["b"])
    assert paired_test(full, "a", "b").t == pytest.approx(plain.statistic * (0.2 / 0.45) ** 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_probabilities_are_integrals_of_the_posterior(seed):
    """Corani and Benavoli (2015): x ~ N(1 mu, S), S = s2 ((1 - rho) I + rho J), prior p(mu, s2) ~ 1 / s2, rho = 1 / k.

    Integrated numerically from the multivariate normal likelihood, without using the t distribution.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.normal(0.002, 0.005), 0.006, 5)
    rho, n = 1 / 5, 5
    inverse = np.linalg.inv((1 - rho) * np.eye(n) + rho * np.ones((n, n)))

    means = np.linspace(x.mean() - 0.2, x.mean() + 0.2, 8001)
    log_sds = np.linspace(-8, 0, 400)
    squares = np.array([(x - mean) @ inverse @ (x - mean) for mean in means])[:, None]
    density = np.exp(-0.5 * squares / np.exp(2 * log_sds) - n * (log_sds + 5.0))  # d sd / sd = d log sd
    marginal = integrate.trapezoid(density, log_sds, axis=1)
    below = integrate.cumulative_trapezoid(marginal, means, initial=0.0)
    left, within = np.interp([-ROPE, ROPE], means, below / below[-1])
    found = paired_test(table(*x), "a", "b")
    assert (found.left, found.right) == pytest.approx((left, 1.0 - within), abs=1e-3)
    assert found.left + found.rope + found.right == pytest.approx(1.0)


def test_swapping_the_configs_mirrors_the_result():
    full = table(0.004, 0.011, 0.002, -0.003, 0.009)
    one, other = paired_test(full, "a", "b"), paired_test(full, "b", "a")
    assert (one.left, one.rope, one.p) == pytest.approx((other.right, other.rope, other.p))
    assert one.low == pytest.approx(-other.high)


def test_if_lower_scores_are_better_the_config_with_them_is():
    full = table(-0.02, -0.03, -0.02, -0.03)
    found, plain = paired_test(full, "a", "b", minimize=True), paired_test(full, "a", "b")
    assert found.right == plain.left > 0.9 and found.difference == plain.difference < 0
    assert found.summary.startswith("a is better") and plain.summary.startswith("b is better")


def test_only_common_folds_count_and_the_correction_uses_all_folds():
    full = table(0.00, 0.01, 0.02, 0.00, 0.02)
    full.loc["b", 4] = np.nan
    found = paired_test(full, "a", "b")
    # mean 0.75 hundredths; 4 common folds of 5: variance factor 1/4 + 1/4
    assert found.folds == 4
    assert found.t == pytest.approx(0.75 / (np.std([0, 1, 2, 0], ddof=1) * 0.5**0.5))


def test_for_equal_configs_the_test_rejects_at_its_nominal_rate():
    """500 tables without a difference, whose folds correlate by 1/k as the test assumes."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, (1 / 5) ** 0.5, (500, 1)) + rng.normal(0, (4 / 5) ** 0.5, (500, 5))
    rejected = np.mean([paired_test(table(*(0.01 * row)), "a", "b").p < 0.05 for row in shared])
    assert 0.03 <= rejected <= 0.08


def test_too_few_or_equal_folds_are_handled():
    alone = paired_test(pd.DataFrame([[0.8, np.nan], [0.7, 0.9]], index=["a", "b"]), "a", "b")
    assert alone.folds == 1 and np.isnan(alone.p)
    assert alone.summary == "no test: a and b have only one fold in common"
    never = paired_test(pd.DataFrame([[0.8, np.nan], [np.nan, 0.9]], index=["a", "b"]), "a", "b")
    assert np.isnan(never.difference) and "have no fold in common" in never.summary
    same = paired_test(table(0.0, 0.0, 0.0), "a", "b")
    assert (same.t, same.p, same.rope) == pytest.approx((0.0, 1.0, 1.0))
    far = paired_test(pd.DataFrame([[0.9, 0.9], [0.8, 0.8]], index=["a", "b"]), "a", "b")
    assert far.right == pytest.approx(1.0) and far.p < 1e-6
    assert far.summary.startswith("a is better with probability 1.000, on 2 folds")
