"""How a rung is ranked, and how few configs it keeps, where main effects predict its scores."""

import itertools

import numpy as np
import pytest

from search.messages import Entrant, Report
from search.policies.foldrace import FoldRace
from search.race.main_effects import MOST, expect, prediction_errors

POINTS = np.array(list(itertools.product(range(3), range(3), range(4))))
DESIGN = np.concatenate([np.eye(levels)[POINTS[:, number]] for number, levels in enumerate((3, 3, 4))], axis=1)
ADDITIVE = 0.8 + POINTS @ [0.01, -0.02, 0.005]


def noise(scale):
    return np.random.default_rng(0).normal(0, scale, len(POINTS))


def test_additive_scores_are_predicted_and_let_a_rung_count_most():
    errors, share = prediction_errors(ADDITIVE, DESIGN)
    assert share == pytest.approx(1.0) and np.abs(errors).max() < 1e-9
    assert expect(ADDITIVE, DESIGN).power == MOST


def test_an_error_is_that_of_a_fit_without_the_config():
    scores = ADDITIVE + noise(0.005)
    columns, others = np.concatenate([np.ones((len(POINTS), 1)), DESIGN], axis=1), np.arange(len(POINTS)) != 7
    without = np.linalg.lstsq(columns[others], scores[others], rcond=None)[0]
    assert prediction_errors(scores, DESIGN)[0][7] == pytest.approx(scores[7] - columns[7] @ without)


def test_a_lucky_score_ranks_lower_than_an_equal_one_that_the_others_predict():
    scores = ADDITIVE + noise(0.001)
    best, lucky = np.argsort(scores)[[-1, 5]]
    scores[lucky] = scores[best] + 1e-4
    expected = expect(scores, DESIGN).expected
    assert expected[lucky] < expected[best]


@pytest.mark.parametrize("scores", [noise(0.01), noise(0.01) - 0.5 * (POINTS[:, 0] == 0)], ids=["none", "a failure"])
def test_ranks_are_those_of_the_scores_without_effects_among_the_better_half(scores):
    rung = expect(scores, DESIGN)
    assert rung.power == 1.0 and np.array_equal(rung.expected, scores)


def test_a_few_configs_are_not_judged_by_predictions():
    assert expect(ADDITIVE[:23], DESIGN[:23]).power == 1.0


def test_the_scale_of_scores_does_not_matter():
    scores = ADDITIVE + noise(0.012)
    plain, scaled = expect(scores, DESIGN), expect(5.0 + 0.01 * scores, DESIGN)
    assert 1.0 < plain.power < MOST and scaled.power == pytest.approx(plain.power)
    assert scaled.expected == pytest.approx(5.0 + 0.01 * plain.expected)


def test_a_rung_of_additive_scores_keeps_as_few_as_three_rungs():
    # ceil(0.83^3 * 36) = ceil(20.6) = 21 instead of ceil(0.83 * 36) = 30
    parameters = [dict(zip("abc", point.tolist(), strict=True)) for point in POINTS]
    race = FoldRace([Entrant(f"c{i:02d}", (1, 2), each) for i, each in enumerate(parameters)], 2, rungs=(0.5,))
    for number, score in enumerate(ADDITIVE + noise(1e-5)):
        race.report(Report(f"c{number:02d}", 0, 1, float(score), 1.0))
    reasons = [race.why(config) for config in race.score_table.entrants]
    assert reasons.count(None) == 21
    paused = [reason for reason in reasons if reason]
    assert all(" as expected with main effects at step 1 of fold 0, outside the top 21" in reason for reason in paused)
