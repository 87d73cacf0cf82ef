"""The winner, its peers, expected means and chances, on tables of known truth and on tables worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from search.messages import Entrant, Report
from search.race.answer import Standing, assess, best_complete
from search.race.score_table import ScoreTable
from search.terminal.answer_text import set_sentences

NAN = float("nan")


def score_table(values, minimize=False, seconds=1.0, parameters=()):
    """A score table with these full-length scores; NaN is a fold that was not trained, a tuple one that was paused."""
    table = ScoreTable(len(values[0]))
    table.minimize = minimize
    for number, row in enumerate(values):
        name = f"c{number:02d}"
        table.add(Entrant(name, (5, 10), dict(parameters[number]) if parameters else {}))
        for fold, score in enumerate(row):
            paused = isinstance(score, tuple)
            if paused or score == score:
                table.record(Report(name, fold, 5 if paused else 10, score[0] if paused else score, seconds))
    return table


def simulated(rng, configs, folds, noise, spread=0.010):
    """Scores, and the mean of each config over these folds without noise."""
    quality, level = rng.normal(0, spread, configs), 0.85 + rng.normal(0, 0.017, folds)
    return level + quality[:, None] + rng.normal(0, noise, (configs, folds)), quality + level.mean()


@pytest.mark.parametrize(("configs", "folds", "noise"), [(40, 5, 0.006), (40, 5, 0.012), (12, 3, 0.006)])
def test_intervals_and_chances_agree_with_the_truth(configs, folds, noise):
    rng, covered, chances, better = np.random.default_rng(3), [], [], []
    for _ in range(1200 // configs):
        values, truth = simulated(rng, configs, folds, noise)
        found = assess(score_table(values))
        for name, each in found.standings.items():
            mean = truth[int(name[1:])]
            covered.append(each.low < mean < each.high)
            if name != found.winner:
                chances.append(each.chance_any_folds)
                better.append(mean > truth[int(found.winner[1:])])
    assert 0.90 <= np.mean(covered) <= 0.98
    likely = np.array(chances) > 0.05
    assert np.array(better)[likely].mean() == pytest.approx(np.array(chances)[likely].mean(), abs=0.06)
    assert np.array(better)[~likely].mean() < 0.02


def test_the_set_does_not_depend_on_the_scale_of_scores():
    values, _ = simulated(np.random.default_rng(0), 20, 4, 0.006)
    values[8:, 2:] = NAN
    plain, scaled = assess(score_table(values)), assess(score_table(5 + 0.01 * values))
    assert plain.peers == scaled.peers and plain.ranking == scaled.ranking and len(plain.peers) > 1
    for one, other in zip(plain.standings.values(), scaled.standings.values(), strict=True):
        assert other.expected == pytest.approx(5 + 0.01 * one.expected)
        assert other.chance_any_folds == pytest.approx(one.chance_any_folds, abs=1e-6, nan_ok=True)


def test_minimized_scores_lead_to_the_mirror_image():
    values, _ = simulated(np.random.default_rng(0), 20, 4, 0.006)
    values[8:, 2:] = NAN
    high, low = assess(score_table(values)), assess(score_table(-values, minimize=True))
    assert high.winner == low.winner and high.peers == low.peers and high.ranking == low.ranking
    for one, other in zip(high.standings.values(), low.standings.values(), strict=True):
        assert (other.expected, other.low, other.high) == pytest.approx((-one.expected, -one.high, -one.low))
        assert other.chance_these_folds == pytest.approx(one.chance_these_folds, nan_ok=True)
    first, second = high.ranking[:2]
    assert low.difference(first, second).mean == pytest.approx(-high.difference(first, second).mean)
    assert low.difference(first, second).chance == pytest.approx(high.difference(first, second).chance)
    assert low.difference(first, second).chance > 0.5


def test_a_hard_fold_does_not_count_against_the_config_that_ran_it():
    values = [[0.90, 0.80], [0.89, NAN], [NAN, 0.81], [0.88, 0.78], [0.87, 0.77], [0.91, 0.81]]
    found = assess(score_table(values))
    assert found.ranking.index("c02") < found.ranking.index("c01")


def test_a_clear_winner_has_no_peers_and_equal_configs_are_all_peers():
    rng = np.random.default_rng(0)
    clear = np.add.outer([0.70, 0.78, 0.80, 0.81, 0.90], [0.0, 0.01, 0.02, 0.03]) + rng.normal(0, 1e-4, (5, 4))
    assert assess(score_table(clear)).peers == ("c04",)
    assert set(assess(score_table(np.full((5, 3), 0.8))).peers) == {f"c{number:02d}" for number in range(5)}


def test_a_config_that_is_known_less_exactly_may_be_a_peer_below_one_that_is_not():
    # c1 is clearly behind c0 on six folds; c2 is expected further behind, but has one score only
    rng = np.random.default_rng(2)
    level = [0.85, 0.841, 0.84, 0.80, 0.79, 0.81, 0.83, 0.82]
    values = np.add.outer(level, np.zeros(6)) + rng.normal(0, 0.002, (8, 6))
    values[2, 1:] = NAN
    values[2, 0] = values[0, 0] - 0.0105
    found = assess(score_table(values))
    assert found.ranking[:3] == ("c00", "c01", "c02")
    assert found.peers == ("c00", "c02") and found.exceptions == ("c01",)
    assert found.standings["c01"].chance_any_folds < 0.05 <= found.standings["c02"].chance_any_folds


@pytest.mark.parametrize(
    ("values", "why_not"),
    [
        ([[0.8, 0.9]], "only one config has a score at full length"),
        ([[0.8, NAN], [NAN, 0.9]], "no two configs have a score on the same fold, so they cannot be compared"),
        ([[NAN, NAN]], "no config has a score at full length"),
    ],
)
def test_too_few_scores_are_reported_with_the_reason(values, why_not):
    found = assess(score_table(values))
    assert found.why_not == why_not
    assert all(np.isnan(each.low) and np.isnan(each.chance_any_folds) for each in found.standings.values())
    assert found.peers == (("c00",) if found.winner else ())
    assert found.difference("c00", "c00") is None


def test_a_config_that_was_paused_in_its_first_fold_is_in_the_set_by_a_forecast():
    rng = np.random.default_rng(1)
    values = (0.8 + rng.normal(0, 0.01, (12, 1)) + np.zeros((12, 3))).tolist()
    best = max(row[0] for row in values[:10])
    table = score_table([*values[:10], [(best - 0.052,), NAN, NAN], [(best - 0.1,), NAN, NAN]])
    for number in range(10):
        table.record(Report(f"c{number:02d}", 0, 5, values[number][0] - 0.05, 0.5))
    found = assess(table, (0.5,))
    assert list(found.standings)[-2:] == ["c10", "c11"] and found.ranking == tuple(found.standings)[:10]
    close, far = found.standings["c10"], found.standings["c11"]
    assert close.forecast and np.isnan(close.chance_these_folds) and far.low < far.expected < far.high
    assert far.chance_any_folds < 0.1 < close.chance_any_folds < 0.5
    assert found.peers[-1] == "c10" and best_complete(table, (0.5,)).peers == found.peers
    assert "c10" not in assess(table).standings, "without rungs there is nothing to forecast from"
    *_, sentence = set_sentences(found)
    assert sentence.endswith("was paused in the first fold, with a chance of 10 % or more by forecast.")


def test_a_forecast_needs_a_higher_chance_than_a_score():
    forecast = Standing("c", 0, 0.8, 0.7, 0.9, NAN, 0.07)
    assert not forecast.likely and replace(forecast, folds=1).likely and replace(forecast, chance_any_folds=0.1).likely


def test_the_winner_of_equal_means_is_the_cheaper_then_the_usual_then_the_earlier_one():
    table = score_table(np.full((3, 3), 0.8), parameters=[{"loss": "dice"}, {"loss": "iou"}, {"loss": "iou"}])
    assert best_complete(table).winner == "c00"
    table.usual = {"loss": "iou"}
    assert best_complete(table).winner == "c01" and assess(table).tied == ("c02", "c00")
    table.record(Report("c01", 2, 5, 0.7, 9.0))  # takes longer than the others
    assert best_complete(table).winner == "c02"
