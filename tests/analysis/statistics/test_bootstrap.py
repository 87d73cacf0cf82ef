"""The bias-corrected estimate against simulated truth and against a plain, slow bootstrap."""

import numpy as np
import pytest

from analysis.statistics.bootstrap import bias_corrected
from trainable.objectives.metrics import METRICS, scores


def segmented(rng, worse, images, size=10_000):
    """Counts of configs x images that vary in foreground size and difficulty; ``worse`` is per config."""
    foreground = np.clip(rng.beta(2, 5, images), 0.05, 0.9) * size
    hard = rng.normal(0, 0.3, images)
    missed = 1 / (1 + np.exp(2.2 - hard - np.asarray(worse)[:, None] - rng.normal(0, 0.3, (len(worse), images))))
    fn, fp = foreground * missed, (size - foreground) * missed * 0.3
    counts = np.empty((*fn.shape, 2, 2), np.int64)
    counts[..., 0, 0], counts[..., 0, 1] = size - foreground - fp, fp
    counts[..., 1, 0], counts[..., 1, 1] = fn, foreground - fn
    return counts


def truth(metric, images, worse=0.0):
    """The expected score of a config in a fold of that many images."""
    counts = segmented(np.random.default_rng(99), [worse], images * 1500)[0]
    return np.mean([scores(part)[metric] for part in np.split(counts, 1500)])


@pytest.mark.parametrize("metric", ["miou", "miou_image"])
def test_the_estimate_removes_the_selection_bias_of_fifty_equal_configs(metric):
    folds, expected = np.arange(100) % 5, truth(metric, 20)
    found = [
        bias_corrected(segmented(np.random.default_rng(seed), np.zeros(50), 100), folds, metric, draws=100)
        for seed in range(60)
    ]
    naive = np.array([each.naive for each in found]) - expected
    corrected = np.array([each.estimate for each in found]) - expected
    error = corrected.std() / len(found) ** 0.5
    assert naive.mean() > 5 * error
    assert abs(corrected.mean()) < 3 * error
    assert all(each.naive > each.estimate for each in found)


def test_intervals_nearly_reach_their_nominal_coverage():
    """The truth is the score of the selected config. In 1,000 other simulations of the same kind coverage was
    0.928 +- 0.008 instead of 0.95; the bounds guard this level.
    """
    levels = np.linspace(-0.4, 0.4, 17)
    expected = [truth("miou", 20, worse) for worse in levels]
    held = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        worse = rng.normal(0, 0.1, 20)
        found = bias_corrected(segmented(rng, worse, 100), np.arange(100) % 5, "miou", draws=400)
        held.append(found.low < np.interp(worse[found.winner], levels, expected) < found.high)
    assert 0.89 <= np.mean(held) <= 0.98


@pytest.fixture(scope="module")
def plain_bootstrap():
    """Selection on the sampled images and scores of the others, with the metrics used in training, for all metrics."""
    rng = np.random.default_rng(4)
    counts, folds = segmented(rng, rng.normal(0, 0.2, 6), 30), np.repeat([0, 1, 2], 10)

    def means(config, taken):
        of_folds = [scores(counts[config, taken[folds[taken] == fold]]) for fold in range(3)]
        return [np.mean([each[metric] for each in of_folds]) for metric in METRICS]

    actual = np.array([means(config, np.arange(30)) for config in range(6)])
    picked, average = [], []
    for _ in range(400):
        drawn = np.concatenate([rng.choice(np.flatnonzero(folds == fold), 10) for fold in range(3)])
        left = np.setdiff1d(np.arange(30), drawn)
        winners = np.argmax([means(config, drawn) for config in range(6)], axis=0)
        outside = np.array([means(config, left) for config in range(6)])
        picked.append(outside[winners, np.arange(len(METRICS))])
        average.append(outside.mean(0))
    return counts, folds, actual, np.array(picked), np.array(average)


@pytest.mark.parametrize("metric", METRICS)
def test_the_estimate_agrees_with_a_bootstrap_over_single_images(plain_bootstrap, metric):
    counts, folds, *columns = plain_bootstrap
    actual, picked, average = (column[..., list(METRICS).index(metric)] for column in columns)
    found = bias_corrected(counts, folds, metric, draws=2000)
    slow = np.mean(picked) - np.mean(average) + actual.mean()
    assert found.naive == pytest.approx(actual.max())
    assert found.winner == actual.argmax()
    assert found.estimate == pytest.approx(slow, abs=5 * np.std(picked) / 400**0.5 + 1e-6)
    assert found.chosen.sum() == pytest.approx(1.0)


def test_a_single_config_keeps_its_score():
    counts = segmented(np.random.default_rng(0), [0.0], 50)
    found = bias_corrected(counts, np.arange(50) % 5, "miou")
    assert found.estimate == pytest.approx(found.naive)
    assert found.low < found.naive < found.high


def test_perfect_masks_need_no_correction():
    counts = np.tile(np.array([[50, 0], [0, 50]]), (3, 10, 1, 1))
    found = bias_corrected(counts, np.arange(10) % 2, "miou")
    assert (found.naive, found.estimate, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0, 1.0))


def test_a_fold_of_one_image_is_skipped_in_draws_that_contain_it():
    counts = segmented(np.random.default_rng(0), [0.0, 0.1], 7)
    found = bias_corrected(counts, np.array([0, 1, 1, 1, 1, 1, 1]), "miou")
    assert np.isfinite([found.estimate, found.low, found.high]).all()


@pytest.mark.parametrize("right", [(770, 890, 500), (900, 260, 660), (870, 700, 860)])
def test_a_draw_of_one_volume_alone_is_left_out_even_if_rounding_gives_it_an_error(right):
    """One in nine draws of three volumes is such a draw; dividing by its error would make the interval endless."""
    counts = np.array([[[[1000, 0], [1000 - each, each]] for each in right]])
    found = bias_corrected(counts, np.zeros(3, np.int64), "dice_volume", draws=300)
    assert 0.1 < found.low < found.naive < found.high < 0.95


def test_intervals_of_few_images_stay_in_the_range_of_the_metric():
    found = [
        bias_corrected(segmented(np.random.default_rng(seed), [0.0, 0.1], 6), np.arange(6) % 3, "miou", draws=100)
        for seed in range(12)
    ]
    assert all(0 <= each.low <= each.estimate <= each.high <= 1 for each in found)
    assert any(each.high == 1 for each in found)


@pytest.mark.parametrize("metric", ["miou", "miou_image"])
def test_copies_of_images_in_one_group_count_once(metric):
    counts, folds = segmented(np.random.default_rng(0), [0.0, 0.1], 20), np.arange(20) % 2
    names = [f"patient{number:02}" for number in range(20)]
    once = bias_corrected(counts, folds, metric, draws=200)
    copies = (np.repeat(counts, 3, axis=1), np.repeat(folds, 3), metric)
    grouped, alone = (bias_corrected(*copies, draws=200, groups=each) for each in (np.repeat(names, 3).tolist(), None))
    assert (grouped.low, grouped.estimate, grouped.high) == pytest.approx((once.low, once.estimate, once.high))
    assert grouped.grouped and not once.grouped
    assert alone.high - alone.low < 0.7 * (once.high - once.low), "as if each copy told something new"
    single = bias_corrected(counts, folds, metric, draws=200, groups=names)
    assert (single.low, single.estimate, single.high) == (once.low, once.estimate, once.high)


def test_the_same_seed_gives_the_same_result():
    counts, folds = segmented(np.random.default_rng(0), np.zeros(4), 40), np.arange(40) % 4
    one, two = (bias_corrected(counts, folds, "miou", seed=1) for _ in range(2))
    assert (one.estimate, one.low, one.chosen.tolist()) == (two.estimate, two.low, two.chosen.tolist())
    assert bias_corrected(counts, folds, "miou", seed=2).estimate != one.estimate


@pytest.mark.parametrize("shape", [(0, 5, 2, 2), (2, 4, 2, 2), (2, 5, 4), (5, 2, 2)])
def test_counts_with_a_wrong_shape_are_rejected(shape):
    with pytest.raises(ValueError, match="configs x images x matrix"):
        bias_corrected(np.zeros(shape, np.int64), np.arange(5) % 2, "miou")


def test_an_unknown_metric_is_rejected():
    with pytest.raises(ValueError, match="'iou': allowed are miou"):
        bias_corrected(np.ones((2, 4, 2, 2), np.int64), np.arange(4) % 2, "iou")
