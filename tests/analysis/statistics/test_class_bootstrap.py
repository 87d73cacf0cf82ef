"""The bias-corrected estimate for several classes and for volumes, against a plain, slow bootstrap."""

import numpy as np
import pytest

from analysis.statistics.bootstrap import bias_corrected
from trainable.data.task import Task
from trainable.objectives.metrics import metrics_of, scores

TASK = Task(("background", "ring", "core"), declared=True)
FOLDS = np.repeat([0, 1, 2], 8)
DRAWS = 150


def segmented(rng, configs):
    """Counts of configs x units (images or volumes); the rare third class is absent from some of them."""
    units = len(FOLDS)
    sizes = (
        rng.integers(50, 400, (units, 3))
        * [10, 1, 1]
        * np.stack([np.ones(units), np.ones(units), rng.random(units) < 0.7], 1)
    )
    worse = (
        rng.normal(0, 0.15, (configs, 1, 1)) + rng.normal(0, 0.4, (units, 1)) + rng.normal(0, 0.3, (configs, units, 3))
    )
    missed = sizes / (1 + np.exp(1.5 - worse))
    counts = np.zeros((configs, units, 3, 3), np.int64)
    for label in range(3):
        counts[..., label, label] = sizes[:, label] - missed[..., label]
        counts[..., label, (label + 1) % 3] = missed[..., label] * (0.8 if label else 0.05)
        counts[..., label, (label + 2) % 3] = missed[..., label] * (0.2 if label else 0.0)
    return counts


@pytest.fixture(scope="module")
def plain_bootstrap():
    """Selection on the sampled units and scores of the others, with the metrics used in training."""
    rng = np.random.default_rng(4)
    counts = segmented(rng, 5)
    names = metrics_of(TASK, volumes=True)

    def means(config, taken):
        of_folds = []
        for fold in range(3):
            units = taken[FOLDS[taken] == fold]
            if not len(units):
                continue
            of_folds.append(scores(counts[config, units], TASK, [f"{k:02d}-{unit}" for k, unit in enumerate(units)]))
        return [np.mean([each[name] for each in of_folds]) for name in names]

    actual = np.array([means(config, np.arange(len(FOLDS))) for config in range(5)])
    picked, average = [], []
    for _ in range(DRAWS):
        drawn = np.concatenate([rng.choice(np.flatnonzero(fold == FOLDS), 8) for fold in range(3)])
        left = np.setdiff1d(np.arange(len(FOLDS)), drawn)
        winners = np.argmax([means(config, drawn) for config in range(5)], axis=0)
        outside = np.array([means(config, left) for config in range(5)])
        picked.append(outside[winners, np.arange(len(names))])
        average.append(outside.mean(0))
    return counts, names, actual, np.array(picked), np.array(average)


@pytest.mark.parametrize(
    "metric", ["miou", "miou_image", "iou_core", "dice", "pixel_accuracy", "dice_volume", "dice_volume_core"]
)
def test_the_estimate_agrees_with_a_bootstrap_over_single_units(plain_bootstrap, metric):
    counts, names, *columns = plain_bootstrap
    actual, picked, average = (column[..., names.index(metric)] for column in columns)
    found = bias_corrected(counts, FOLDS, metric, draws=1000, task=TASK)
    slow = np.mean(picked) - np.mean(average) + actual.mean()
    assert found.naive == pytest.approx(actual.max()) and found.winner == actual.argmax()
    assert found.estimate == pytest.approx(slow, abs=5 * np.std(picked) / DRAWS**0.5)
    assert found.low < found.estimate < found.high and found.chosen.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("metric", metrics_of(TASK, volumes=True))
def test_a_single_config_keeps_the_score_of_its_folds(metric):
    counts = segmented(np.random.default_rng(1), 1)
    found = bias_corrected(counts, FOLDS, metric, draws=100, task=TASK)
    own = [str(unit) for unit in range(8)]  # each is a volume
    expected = np.mean([scores(counts[0, fold == FOLDS], TASK, own)[metric] for fold in range(3)])
    assert found.naive == pytest.approx(expected)
    assert found.estimate == pytest.approx(found.naive)


@pytest.mark.parametrize("metric", ["miou_image", "dice_volume"])
def test_the_selection_bias_of_equal_configs_is_removed(metric):
    optimism, errors = [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        twins = np.repeat(segmented(rng, 1), 2, axis=0)
        errors.append(bias_corrected(twins, FOLDS, metric, draws=60, task=TASK).optimism)
        optimism.append(bias_corrected(segmented(rng, 12), FOLDS, metric, draws=60, task=TASK).optimism)
    assert np.mean(optimism) > 0.002
    assert np.abs(errors).max() < 1e-9, "the best of two identical configs is not too high"


def test_units_without_a_known_pixel_are_left_out():
    counts = segmented(np.random.default_rng(2), 3)
    counts[:, [3, 11]] = 0
    kept = np.setdiff1d(np.arange(len(FOLDS)), [3, 11])
    for metric in ("miou_image", "dice_volume"):
        found = bias_corrected(counts, FOLDS, metric, draws=60, task=TASK)
        assert found.naive == pytest.approx(
            bias_corrected(counts[:, kept], FOLDS[kept], metric, draws=5, task=TASK).naive
        )
        assert np.isfinite([found.estimate, found.low, found.high]).all()


@pytest.mark.parametrize("metric", ["dice_volume", "dice_volume_core", "miou", "miou_image"])
def test_a_fold_that_does_not_show_a_class_is_scored_as_in_training(metric):
    counts = segmented(np.random.default_rng(3), 1)
    counts[:, FOLDS == 1, 2], counts[:, FOLDS == 1, :, 2] = 0, 0
    found = bias_corrected(counts, FOLDS, metric, draws=60, task=TASK)
    own = [str(unit) for unit in range(8)]  # each is a volume
    expected = np.mean([scores(counts[0, fold == FOLDS], TASK, own)[metric] for fold in range(3)])
    assert found.naive == pytest.approx(expected)


def test_metrics_of_other_classes_are_refused():
    counts = segmented(np.random.default_rng(0), 2)
    with pytest.raises(ValueError, match=r"'iou_foreground': allowed are miou, .*dice_volume_core"):
        bias_corrected(counts, FOLDS, "iou_foreground", task=TASK)
