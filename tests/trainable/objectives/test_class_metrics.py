"""Metrics of several classes, of volumes and with ignored pixels, against direct computations on pixels."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from trainable.data.task import TWO_CLASSES, Task
from trainable.errors import UserError
from trainable.objectives.metrics import (
    count,
    from_columns,
    known_metric,
    may_be_metric,
    metrics_of,
    pooled_metric,
    scores,
    table_columns,
    to_columns,
    unit_scores,
    volume_counts,
)

HEART = Task(("background", "RV", "MYO", "LV"), declared=True)
IGNORED = 15


def pair(draw, classes, shape, ignored):
    """Prediction and truth in which some classes are absent."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shown = [rng.choice(classes, int(rng.integers(1, classes + 1)), replace=False) for _ in range(2)]
    predicted, truth = (rng.choice(each, shape).astype(np.uint8) for each in shown)
    if ignored:
        truth[rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = IGNORED
    return predicted, truth


@settings(max_examples=60)
@given(st.data(), st.integers(2, 15))
def test_counts_are_a_confusion_matrix_without_ignored_pixels(data, classes):
    predicted, truth = pair(data.draw, classes, (6, 7), ignored=True)
    known = truth != IGNORED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn about an empty matrix
        expected = (
            confusion_matrix(truth[known], predicted[known], labels=np.arange(classes))
            if known.any()
            else np.zeros((classes, classes))
        )
    assert np.array_equal(count(predicted, truth, classes), expected)


def overlaps(predicted, truth, label):
    """Pixels of a class in both, in either, and the sum of both, where the truth is known."""
    known = truth != IGNORED
    one, other = (predicted == label) & known, (truth == label) & known
    return (one & other).sum(), (one | other).sum(), one.sum() + other.sum()


def direct_iou(predicted, truth, label):
    both, either, _ = overlaps(predicted, truth, label)
    return both / either if either else np.nan


def direct_dice(predicted, truth, label):
    both, _, total = overlaps(predicted, truth, label)
    return 2 * both / total if total else np.nan


def mean(values):
    """Over what is known; 1 if nothing is."""
    known = np.array(values)[np.isfinite(values)]
    return known.mean() if known.size else 1.0


@settings(max_examples=100)
@given(st.data(), st.integers(3, 6), st.integers(1, 6))
def test_every_metric_agrees_with_a_direct_computation_on_pixels(data, classes, images):
    task = Task(tuple(f"c{k}" for k in range(classes)))
    predicted, truth = zip(*(pair(data.draw, classes, (5, 6), ignored=True) for _ in range(images)), strict=True)
    predicted, truth = np.stack(predicted), np.stack(truth)
    volumes = [data.draw(st.sampled_from(["a", "b", "c"])) for _ in range(images)]
    counts = np.stack([count(p, t, classes) for p, t in zip(predicted, truth, strict=True)])
    found = scores(counts, task, volumes)
    ious, dices = ([f(predicted, truth, label) for label in range(classes)] for f in (direct_iou, direct_dice))
    known = truth != IGNORED
    stacks = [np.array([name == volume for name in volumes]) for volume in sorted(set(volumes))]
    # Of a volume's slices stacked on each other, in three dimensions.
    in_3d = [[direct_dice(predicted[stack], truth[stack], label) for stack in stacks] for label in range(1, classes)]
    per_image = [
        mean([direct_iou(p, t, label) for label in range(classes)])
        for p, t in zip(predicted, truth, strict=True)
        if (t != IGNORED).any()
    ]
    of_class = [np.nanmean(row) if np.isfinite(row).any() else np.nan for row in in_3d]
    expected = {
        "miou": mean(ious),
        "miou_image": mean(per_image) if per_image else 1.0,
        **{f"iou_c{label}": mean([ious[label]]) for label in range(classes)},
        "dice": mean(dices[1:]),
        **{f"dice_c{label}": mean([dices[label]]) for label in range(1, classes)},
        "pixel_accuracy": (predicted == truth)[known].mean() if known.any() else 1.0,
        "dice_volume": mean(of_class),
        **{f"dice_volume_c{label}": mean([of_class[label - 1]]) for label in range(1, classes)},
    }
    assert set(found) == set(expected) == set(metrics_of(task, volumes=True))
    assert found == pytest.approx(expected)


def test_a_class_that_nobody_shows_is_left_out_and_one_that_is_missed_counts_nothing():
    # Background 6 of 8 pixels right, one predicted as RV, one as MYO; the one RV pixel is right; LV is nowhere.
    counts = np.zeros((1, 4, 4), np.int64)
    counts[0, 0, :3], counts[0, 1, 1] = (6, 1, 1), 1
    found = scores(counts, HEART)
    assert found["iou_RV"] == pytest.approx(1 / 2) and found["iou_MYO"] == 0.0 and found["iou_LV"] == 1.0
    assert found["miou"] == pytest.approx((6 / 8 + 1 / 2 + 0) / 3)
    assert found["dice"] == pytest.approx((2 / 3 + 0) / 2)


def test_of_two_classes_one_that_nobody_shows_scores_1_also_in_volumes():
    counts = np.array([[[8, 0], [0, 0]], [[6, 0], [2, 2]]])
    found = scores(counts, TWO_CLASSES, ["a", "b"])
    assert found["dice_volume"] == pytest.approx((1 + 4 / 6) / 2)
    assert found["miou_image"] == pytest.approx((1 + (6 / 8 + 2 / 4) / 2) / 2)


def test_a_class_is_averaged_over_the_volumes_that_show_it():
    """Two volumes; the second has no RV. The mean over classes comes last."""
    counts = np.zeros((3, 4, 4), np.int64)
    counts[:, 0, 0] = 10
    counts[0, 1, 1], counts[1, 1, 0], counts[1, 2, 2] = 3, 1, 5  # volume b, two slices: RV 3 of 4, MYO 5 of 5
    counts[2, 2, 2], counts[2, 2, 0] = 1, 1  # volume a: MYO 1 of 2
    found = scores(counts, HEART, ["b", "b", "a"])
    assert found["dice_volume_RV"] == pytest.approx(6 / 7)
    assert found["dice_volume_MYO"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["dice_volume"] == pytest.approx((6 / 7 + (1 + 2 / 3) / 2) / 2)
    assert volume_counts(counts, ["b", "b", "a"]).sum(axis=(1, 2)).tolist() == [12, 29]


@pytest.mark.parametrize("name", ["volumes", "volume-1"])
def test_a_class_whose_name_starts_like_volume_has_a_metric_of_pixels(name):
    task = Task(("background", name, "other"), declared=True)
    counts = np.zeros((2, 3, 3), np.int64)
    counts[0, 1, 1], counts[1, 1, 0] = 3, 1
    expected = pooled_metric(counts.sum(0), f"dice_{name}", task)
    assert expected == pytest.approx(6 / 7)
    for volumes in (None, ["a", "b"]):
        assert scores(counts, task, volumes)[f"dice_{name}"] == pytest.approx(6 / 7)
    assert scores(counts, task, ["a", "b"])[f"dice_volume_{name}"] == pytest.approx((1 + 0) / 2)


@given(st.integers(2, 15), st.integers(1, 4), st.integers(0, 99))
def test_counts_come_back_from_the_columns_of_a_table(classes, images, seed):
    counts = np.random.default_rng(seed).integers(0, 1000, (images, classes, classes))
    columns = to_columns(counts)
    assert list(columns) == list(table_columns(classes)) and len(columns) == classes**2
    table = pd.DataFrame(columns).assign(stem="a", fold=0)
    assert np.array_equal(from_columns(table, classes), counts)


def test_columns_name_the_true_and_the_predicted_class():
    counts = np.arange(16).reshape(1, 4, 4)
    assert to_columns(counts)["true_2_predicted_1"].tolist() == [9]
    two = to_columns(np.array([[[1, 2], [3, 4]]]))
    assert {name: values.tolist() for name, values in two.items()} == {"tp": [4], "fp": [2], "fn": [3], "tn": [1]}


def test_metrics_are_named_after_classes():
    assert metrics_of(HEART, volumes=True) == (
        *("miou", "miou_image", "iou_background", "iou_RV", "iou_MYO", "iou_LV"),
        *("dice", "dice_RV", "dice_MYO", "dice_LV", "pixel_accuracy"),
        *("dice_volume", "dice_volume_RV", "dice_volume_MYO", "dice_volume_LV"),
    )
    assert metrics_of(HEART) == metrics_of(HEART, volumes=True)[:11]
    assert all(may_be_metric(name) for name in metrics_of(HEART, volumes=True))
    assert not any(may_be_metric(name) for name in ("mIoU", "iou_", "dice_a b", "accuracy", ""))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dice_volume", "metric 'dice_volume': the data set has no volumes.csv, so there are no volumes to score"),
        ("dice_volume_LV", "metric 'dice_volume_LV': the data set has no volumes.csv"),
        ("dice_VL", "metric 'dice_VL': unknown. Did you mean .*'dice_LV'"),
        ("dice_background", "metric 'dice_background': unknown."),
        ("miuo", "Did you mean 'miou'.* Known: miou, miou_image, iou_background, iou_RV"),
    ],
)
def test_a_metric_that_the_data_set_does_not_have_is_refused(name, message):
    with pytest.raises(UserError, match=message):
        known_metric(name, HEART)


def test_a_metric_that_the_data_set_has_is_accepted():
    for name in metrics_of(HEART, volumes=True):
        assert known_metric(name, HEART, volumes=True) == name


@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 2, 2), (4, 4), (2, 4, 3)])
def test_counts_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        scores(np.zeros(shape, np.int64), HEART)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dice", [None, 0.5, None]),
        ("dice_volume", [None, 0.5, None]),
        ("dice_RV", [None, 0.5, None]),
        ("dice_volume_LV", [None, None, None]),
        ("iou_background", [1, 7 / 9, None]),
        ("miou", [1, (7 / 9 + 1 / 3) / 2, None]),
        ("miou_image", [1, (7 / 9 + 1 / 3) / 2, None]),
        ("pixel_accuracy", [1, 0.8, None]),
    ],
)
def test_a_unit_has_no_score_where_no_class_of_the_metric_is_shown(name, expected):
    """Ten pixels of background, ten with an RV of two of which one is found and one invented, and none."""
    counts = np.zeros((3, 4, 4), np.int64)
    counts[0, 0, 0] = 10
    counts[1, :2, :2] = [[7, 1], [1, 1]]
    found = unit_scores(counts, name, HEART)
    assert [None if np.isnan(value) else value for value in found] == [
        None if value is None else pytest.approx(value) for value in expected
    ]


def test_a_unit_of_two_classes_without_foreground_scores_1():
    counts = np.array([[[9, 0], [0, 0]], [[6, 1], [1, 2]]])
    assert unit_scores(counts, "dice_volume", TWO_CLASSES) == pytest.approx([1, 2 / 3])
