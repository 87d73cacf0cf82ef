"""Forecasts of folds that paused at a rung, and their uncertainty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.messages import Entrant, Report
from search.race.forecast import forecast, forecast_all
from search.race.mixed_model import Prior, Table, Variances
from search.race.score_matrix import matrix_of
from search.race.score_table import ScoreTable

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


@pytest.mark.parametrize("early", [0, 6])
def test_folds_that_ended_before_a_rung_say_nothing_about_the_gain_after_it(early):
    table = ScoreTable(1)
    for number in range(12 + early):
        config, score = f"c{number:02d}", 0.6 + 0.001 * (number % 12)
        table.add(Entrant(config, (5, 10), {}))
        steps = {10: score} if number >= 12 else {5: score, 10: score + 0.1} if number < 6 else {5: score}
        for step, reported in steps.items():
            table.record(Report(config, 0, step, reported, float(step)))
    forecasts = forecast_all(matrix_of(table, (0.5,)), PRIOR).scores[6:12, 0]
    assert forecasts == pytest.approx(0.7 + 0.001 * np.arange(6, 12), abs=0.003)
