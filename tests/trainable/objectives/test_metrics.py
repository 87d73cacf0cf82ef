import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.objectives.metrics import METRICS, count, scores


def test_counts_of_a_small_mask_worked_out_by_hand():
    predicted = np.array([[1, 1], [0, 0]], bool)
    truth = np.array([[1, 0], [1, 0]], bool)
    assert count(predicted, truth).tolist() == [[1, 1], [1, 1]]


def test_pooled_and_per_image_miou_differ_on_the_same_masks():
    # Image A: 8 of 10 foreground pixels hit, nothing else wrong; image B: 1 of 2 hit, 1 false.
    counts = np.array([[[90, 0], [2, 8]], [[97, 1], [1, 1]]])
    # Pooled: foreground 9 / (9 + 1 + 3) = 9/13, background 187 / (187 + 4) = 187/191.
    pooled = (9 / 13 + 187 / 191) / 2
    # Per image: A (8/10 + 90/92) / 2, B (1/3 + 97/99) / 2.
    per_image = ((8 / 10 + 90 / 92) / 2 + (1 / 3 + 97 / 99) / 2) / 2
    result = scores(counts)
    assert result["miou"] == pytest.approx(pooled)
    assert result["miou_image"] == pytest.approx(per_image)
    assert result["iou_foreground"] == pytest.approx(9 / 13)
    assert result["iou_background"] == pytest.approx(187 / 191)
    assert result["dice"] == pytest.approx(18 / (18 + 4))
    assert result["pixel_accuracy"] == pytest.approx(196 / 200)


def test_an_absent_class_that_is_not_predicted_is_a_full_hit():
    assert scores(np.array([[[100, 0], [0, 0]]])) == dict.fromkeys(METRICS, 1.0)
    assert scores(np.array([[[0, 0], [0, 100]]])) == dict.fromkeys(METRICS, 1.0)


def test_an_absent_class_that_is_predicted_is_a_miss():
    assert scores(np.array([[[90, 10], [0, 0]]]))["iou_foreground"] == 0.0


@pytest.mark.parametrize("shape", [(0, 2, 2), (3, 3, 3), (2, 2), (4, 4)])
def test_counts_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        scores(np.zeros(shape, np.int64))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_every_metric_agrees_with_a_confusion_matrix_of_labels(seed, images):
    rng = np.random.default_rng(seed)
    predicted = rng.random((images, 5, 7)) < rng.random()
    truth = rng.random((images, 5, 7)) < rng.random()
    result = scores(np.stack([count(p, t) for p, t in zip(predicted, truth, strict=True)]))

    def confusion(p, t):
        return np.histogram2d(t.ravel().astype(int), p.ravel().astype(int), bins=[[0, 1, 2], [0, 1, 2]])[0]

    def ious(matrix):
        unions = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
        return [np.diag(matrix)[k] / unions[k] if unions[k] else 1.0 for k in (0, 1)]

    total = confusion(predicted, truth)
    assert result["iou_background"] == pytest.approx(ious(total)[0])
    assert result["iou_foreground"] == pytest.approx(ious(total)[1])
    assert result["miou"] == pytest.approx(np.mean(ious(total)))
    per_image = [np.mean(ious(confusion(p, t))) for p, t in zip(predicted, truth, strict=True)]
    assert result["miou_image"] == pytest.approx(np.mean(per_image))
    assert result["pixel_accuracy"] == pytest.approx((predicted == truth).mean())
    both = predicted.sum() + truth.sum()
    assert result["dice"] == pytest.approx(2 * (predicted & truth).sum() / both if both else 1.0)
