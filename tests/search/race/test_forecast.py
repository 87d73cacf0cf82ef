"""Forecasts of folds that paused at a rung, and their uncertainty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.race.forecast import forecast
from search.race.mixed_model import Prior, Table, Variances

PRIOR = Prior(Variances(0.007**2, 0.010**2, 0.003**2))
LEVELS = np.array([np.nan, np.nan])


def forecasts(rung, full):
    """The scores and variances for configs without parameters on two folds, of which the first is at the rung."""
    rung, full = (np.array([[each, np.nan] for each in column]) for column in (rung, full))
    table = Table(full.copy(), np.zeros_like(full), np.zeros((len(full), 0)))
    filled = forecast(table, full, rung, np.zeros((len(full), 2)), PRIOR, LEVELS)
    return filled.scores[:, 0], filled.extra[:, 0]


@given(st.lists(st.floats(0.1, 0.9), min_size=2, max_size=20, unique=True))
def test_without_a_known_gain_the_best_at_the_rung_is_first_and_all_are_equally_uncertain(rung):
    scores, extra = forecasts(rung, [np.nan] * len(rung))
    assert np.all(np.diff(scores[np.argsort(rung)]) >= 0) and np.ptp(extra) == 0


@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_a_gain_says_less_about_the_other_configs_the_further_apart_they_are_at_the_rung(gain):
    near, far = (
        forecasts(0.6 - width * np.arange(8), [0.6 + gain, *[np.nan] * 7])[1][1:] ** 0.5 for width in (0.002, 0.05)
    )
    assert far.min() > 2 * near.max()
    assert far.min() > 0.05, "the distance of the nearest config"


def test_a_few_configs_that_learned_nothing_do_not_make_the_others_uncertain():
    alike = 0.6 - 0.002 * np.arange(9)
    full = [0.65, *[np.nan] * 8]
    without = forecasts(alike, full)[1][1:]
    with_them = forecasts([*alike, 0.2, 0.2], [*full, np.nan, np.nan])[1][1:9]
    assert with_them.max() < 1.5 * without.max()
