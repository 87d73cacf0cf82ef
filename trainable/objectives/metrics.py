"""Metrics as pure functions of per-image counts, so that any of them can be computed without training again."""

import numpy as np
import numpy.typing as npt

from trainable.errors import UserError, did_you_mean

Counts = npt.NDArray[np.int64]
Scores = dict[str, float]

COLUMNS = ("tp", "fp", "fn", "tn")
METRICS = ("miou", "miou_image", "iou_background", "iou_foreground", "dice", "pixel_accuracy")
SELECTION = "miou"  # the default


def known_metric(name: str) -> str:
    """Return the name of a metric, or raise an error that lists all metrics."""
    if name not in METRICS:
        raise UserError(f"metric {name!r}: unknown.{did_you_mean(name, METRICS)} Known: {', '.join(METRICS)}.")
    return name


def count(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> Counts:
    """True and false positives and negatives of one image, foreground being positive."""
    tp = int(np.count_nonzero(predicted & truth))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return np.array([tp, fp, fn, predicted.size - tp - fp - fn], np.int64)


def scores(counts: Counts) -> Scores:
    """All metrics of a set of images; ``counts`` has a row per image.

    ``miou`` pools the pixels of all images, as the challenge does; ``miou_image`` averages per-image values. They
    differ by several points on the same masks.
    """
    if counts.ndim != 2 or counts.shape[1] != len(COLUMNS) or not len(counts):
        raise ValueError(f"counts must have shape (images, {len(COLUMNS)}) and at least one row, not {counts.shape}")
    tp, fp, fn, tn = counts.sum(axis=0).tolist()
    background, foreground = (float(iou) for iou in class_ious(counts.sum(axis=0, keepdims=True))[0])
    return {
        "miou": (background + foreground) / 2,
        "miou_image": float(class_ious(counts).mean()),
        "iou_background": background,
        "iou_foreground": foreground,
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "pixel_accuracy": _ratio(tp + tn, tp + fp + fn + tn),
    }


def class_ious(counts: Counts) -> npt.NDArray[np.float64]:
    """IoU of background and foreground per row; 1 for a class that is neither present nor predicted."""
    tp, fp, fn, tn = (counts[:, column].astype(np.float64) for column in range(4))
    hits = np.stack([tn, tp], axis=1)
    unions = np.stack([tn + fp + fn, tp + fp + fn], axis=1)
    return np.where(unions > 0, hits / np.maximum(unions, 1), 1.0)


def _ratio(hits: int, total: int) -> float:
    return hits / total if total else 1.0
