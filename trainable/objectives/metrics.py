"""Metrics as pure functions of per-image counts, so that any of them can be computed without training again.

Counts are confusion matrices: of each true class (row), the pixels that were predicted as each class (column).
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from trainable.data.task import TWO_CLASSES, Task
from trainable.errors import UserError, did_you_mean

Counts = npt.NDArray[np.int64]  # (images, classes, classes)
Labels = npt.NDArray[np.integer] | npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Scores = dict[str, float]

BINARY = {"tp": (1, 1), "fp": (0, 1), "fn": (1, 0), "tn": (0, 0)}  # column of a table: true and predicted class
OF_VOLUMES = "dice_volume"
SELECTION = "miou"  # the default
PATTERN = re.compile(r"(miou|miou_image|pixel_accuracy|dice|dice_volume|(iou|dice|dice_volume)_\w[\w-]*)")


def metrics_of(task: Task, volumes: bool = False) -> tuple[str, ...]:
    """The names of all metrics of a data set."""
    names = ["miou", "miou_image", *(f"iou_{name}" for name in task.classes), "dice"]
    if not task.binary:
        names += [f"dice_{name}" for name in task.foreground]
    names.append("pixel_accuracy")
    if volumes:
        names.append(OF_VOLUMES)
        if not task.binary:
            names += [f"{OF_VOLUMES}_{name}" for name in task.foreground]
    return tuple(names)


METRICS = metrics_of(TWO_CLASSES)


def main_metrics(task: Task, volumes: bool, metric: str) -> tuple[str, ...]:
    """Those that fit a table for people: all of two classes, of more ``metric`` and Dice coefficients."""
    if task.binary:
        return metrics_of(task, volumes)
    kind = OF_VOLUMES if volumes else "dice"
    return tuple(dict.fromkeys([metric, "miou", kind, *(f"{kind}_{name}" for name in task.foreground)]))


def may_be_metric(name: str) -> bool:
    """Whether some data set may have a metric of this name."""
    return PATTERN.fullmatch(name) is not None


def known_metric(name: str, task: Task = TWO_CLASSES, volumes: bool = False) -> str:
    """Return the name of a metric, or raise an error that lists all metrics."""
    known = metrics_of(task, volumes)
    if name not in known:
        if name in metrics_of(task, volumes=True):
            raise UserError(f"metric {name!r}: the data set has no {task.volumes}, so there are no volumes to score")
        raise UserError(f"metric {name!r}: unknown.{did_you_mean(name, known)} Known: {', '.join(known)}.")
    return name


def is_of_volumes(name: str) -> bool:
    """Whether a metric averages over volumes; ``dice_volumes`` is that of a class named "volumes"."""
    return name == OF_VOLUMES or name.startswith(f"{OF_VOLUMES}_")


def without_volumes(name: str) -> str:
    """The metric of all images together that takes the place of a metric of volumes where there are none."""
    return f"dice{name.removeprefix(OF_VOLUMES)}" if is_of_volumes(name) else name


def table_columns(classes: int) -> dict[str, tuple[int, int]]:
    """The columns of counts in a table, each with its true and its predicted class."""
    if classes == 2:
        return BINARY
    return {f"true_{row}_predicted_{column}": (row, column) for row in range(classes) for column in range(classes)}


def to_columns(counts: Counts) -> dict[str, npt.NDArray[np.int64]]:
    """Counts as the columns of a table."""
    return {name: counts[:, row, column] for name, (row, column) in table_columns(counts.shape[1]).items()}


def from_columns(table: Mapping[str, npt.ArrayLike], classes: int) -> Counts:
    """The counts in a table, which may have further columns."""
    columns = table_columns(classes)
    counts = np.zeros((len(np.asarray(table[next(iter(columns))])), classes, classes), np.int64)
    for name, (row, column) in columns.items():
        counts[:, row, column] = np.asarray(table[name])
    return counts


def count(predicted: Labels, truth: Labels, classes: int = 2) -> Counts:
    """The confusion matrix of one image; a truth beyond the classes is ignored."""
    places = truth.astype(np.intp) * classes + predicted
    known = places[truth < classes]
    return np.bincount(known.reshape(-1), minlength=classes**2).reshape(classes, classes).astype(np.int64)


def scores(counts: Counts, task: Task = TWO_CLASSES, volumes: Sequence[str] | None = None) -> Scores:
    """All metrics of a set of images; ``counts`` has a matrix per image, ``volumes`` the volume of each.

    ``miou`` pools the pixels of all images, as the challenge does; ``miou_image`` averages per-image values. They
    differ by several points on the same masks. ``dice_volume`` adds up the counts of a volume's slices and averages
    the Dice coefficient of each class over volumes. Of two classes, one that neither truth nor prediction shows scores
    1; of more, it is left out of averages, as is usual for organs.
    """
    classes = len(task.classes)
    if counts.ndim != 3 or counts.shape[1:] != (classes, classes) or not len(counts):
        raise ValueError(f"counts must have the shape (images, {classes}, {classes}), not {counts.shape}")
    pooled = counts.sum(axis=0)
    found: Scores = {}
    for name in metrics_of(task, volumes is not None):
        if name == "miou_image":
            found[name] = float(_mean(class_ious(counts), task))
        elif is_of_volumes(name):
            dices = class_dices(volume_counts(counts, volumes or ()))
            found[name] = float(mean_over_units(*known_values(dices, name, task), task))
        else:
            found[name] = float(pooled_metric(pooled, name, task))
    return found


def pooled_metric(counts: npt.NDArray[np.integer] | Floats, name: str, task: Task) -> Floats:
    """A metric of pooled pixels, for any array of confusion matrices."""
    kind, _, one = name.partition("_")
    if name == "pixel_accuracy":
        total = counts.sum(axis=(-2, -1))
        right = np.trace(counts, axis1=-2, axis2=-1)
        return np.asarray(np.where(total > 0, right / np.maximum(total, 1), 1.0))
    values = class_dices(counts) if kind == "dice" else class_ious(counts)
    if one:
        values = values[..., task.classes.index(one)]
        return np.asarray(np.where(np.isnan(values), 1.0, values))
    return mean_over_classes(values[..., 1:] if kind == "dice" else values, task)


def unit_scores(counts: Counts, name: str, task: Task) -> Floats:
    """A metric of each image or volume alone.

    Of several classes, it is NaN where neither truth nor prediction shows a class that the metric is of.
    """
    alone = "miou" if name == "miou_image" else without_volumes(name)
    values = pooled_metric(counts, alone, task)
    if task.binary:
        return values
    kind, _, one = alone.partition("_")
    single = one and kind in ("dice", "iou")
    places = [task.classes.index(one)] if single else list(range(int(kind == "dice"), len(task.classes)))
    shown = (counts.sum(axis=-1) + counts.sum(axis=-2))[..., places].any(axis=-1)
    return np.where(shown, values, np.nan)


def volume_counts(counts: Counts, volumes: Sequence[str]) -> Counts:
    """The sums over the slices of each volume, volumes in alphabetical order."""
    names, place = np.unique(np.asarray(volumes), return_inverse=True)
    sums = np.zeros((len(names), *counts.shape[1:]), np.int64)
    np.add.at(sums, place, counts)
    return sums


def volume_dices(counts: Counts, volumes: Sequence[str], task: Task) -> Floats:
    """Dice per volume and class but the first; of a class that neither shows 1 if there are two classes, else NaN."""
    dices = class_dices(volume_counts(counts, volumes))[:, 1:]
    return np.where(np.isnan(dices), 1.0, dices) if task.binary else dices


def known_values(dices: Floats, name: str, task: Task) -> tuple[Floats, Floats]:
    """The Dice coefficients that a metric of volumes averages, and which of them are known, both (..., classes)."""
    one = name.removeprefix(OF_VOLUMES).removeprefix("_")
    places = [task.classes.index(one)] if one else list(range(1, len(task.classes)))
    chosen = dices[..., places]
    if task.binary:
        chosen = np.where(np.isnan(chosen), 1.0, chosen)
    known = np.isfinite(chosen)
    return np.where(known, chosen, 0.0), known.astype(np.float64)


def mean_over_units(values: Floats, known: Floats, task: Task) -> Floats:
    """The mean over volumes (the axis before the last) of each class, then over classes."""
    sums, numbers = values.sum(axis=-2), known.sum(axis=-2)
    return mean_over_classes(np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan), task)


def class_ious(counts: npt.NDArray[np.integer] | Floats) -> Floats:
    """IoU per matrix and class; NaN for a class that is neither present nor predicted."""
    hits, misses = _hits_and_misses(counts)
    return _ratio(hits, hits + misses)


def class_dices(counts: npt.NDArray[np.integer] | Floats) -> Floats:
    """Dice per matrix and class; NaN for a class that is neither present nor predicted."""
    hits, misses = _hits_and_misses(counts)
    return _ratio(2 * hits, 2 * hits + misses)


def image_ious(counts: npt.NDArray[np.integer], task: Task) -> Floats:
    """The mean IoU over classes of each image; NaN for an image of more than two classes without a known pixel."""
    ious = class_ious(counts)
    return np.where(np.isfinite(ious).any(axis=-1), mean_over_classes(ious, task), np.nan if not task.binary else 1.0)


def mean_over_classes(values: Floats, task: Task) -> Floats:
    """The mean over the last axis of the classes that truth or prediction show; 1 if there is none."""
    if task.binary:
        return np.asarray(np.where(np.isnan(values), 1.0, values).mean(axis=-1))
    known = np.isfinite(values)
    sums, numbers = np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1)
    return np.asarray(np.where(numbers > 0, sums / np.maximum(numbers, 1), 1.0))


def _mean(ious: Floats, task: Task) -> float:
    """The mean over images of the mean over classes."""
    if task.binary:
        return float(np.where(np.isnan(ious), 1.0, ious).mean())
    shown = np.isfinite(ious).any(axis=-1)
    return float(mean_over_classes(ious, task)[shown].mean()) if shown.any() else 1.0


def _hits_and_misses(counts: npt.NDArray[np.integer] | Floats) -> tuple[Floats, Floats]:
    """Per class: the pixels that are right, and those that only truth or only the prediction gives to it."""
    hits = np.ascontiguousarray(np.diagonal(counts, axis1=-2, axis2=-1), np.float64)
    return hits, counts.sum(axis=-1) + counts.sum(axis=-2) - 2 * hits


def _ratio(hits: Floats, total: Floats) -> Floats:
    return np.asarray(np.where(total > 0, hits / np.maximum(total, 1), np.nan))
