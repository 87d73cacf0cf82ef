"""The score of a run, which is the mean over folds of a metric, of images that are drawn with replacement."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trainable.data.task import Task
from trainable.objectives.metrics import class_dices, image_ious, is_of_volumes, known_values, pooled_metric

Array = NDArray[np.float64]
MetricOf = Callable[[Array], Array]
TINY = 1e-12
DRAWS_IN_MEMORY = 64


def metric_of_sums(metric: str, task: Task) -> MetricOf:
    """The metric as a function of sums of what ``parts_of`` returns."""
    return _averaged if _is_average(metric) else partial(_pooled, metric=metric, task=task)


def _is_average(metric: str) -> bool:
    """Whether a metric is an average over images or volumes, not one of pooled pixels."""
    return metric == "miou_image" or is_of_volumes(metric)


def parts_of(counts: NDArray[np.int64], metric: str, task: Task) -> Array:
    """Configs x images x the values that are summed over images.

    They are counts, or the scores to be averaged and which of them are known.
    """
    configs, images = counts.shape[:2]
    if metric == "miou_image":
        values = image_ious(counts, task)[..., None]
        known = np.isfinite(values).astype(np.float64)
        return np.concatenate([np.nan_to_num(values), known], axis=-1)
    if is_of_volumes(metric):
        return np.concatenate(known_values(class_dices(counts), metric, task), axis=-1)
    return counts.reshape(configs, images, -1).astype(np.float64)


def fold_scores(parts: Array, times: NDArray[np.float64] | NDArray[np.bool_], metric_of: MetricOf) -> Array:
    """Draws x configs: the metric of a fold's images, each counted ``times`` times; NaN where none is counted."""
    weights = times.astype(np.float64)
    configs, images, columns = parts.shape
    sums = (weights @ parts.transpose(1, 0, 2).reshape(images, -1)).reshape(len(weights), configs, columns)
    return np.where(weights.sum(axis=1)[:, None] > 0, metric_of(sums), np.nan)


def _averaged(sums: Array) -> Array:
    """The mean over classes of the sum of scores by the number of known ones."""
    values, known = np.split(sums, 2, axis=-1)
    means = np.where(known > 0, values / np.maximum(known, TINY), np.nan)
    numbers = np.isfinite(means).sum(axis=-1)
    return np.where(numbers > 0, np.nan_to_num(means).sum(axis=-1) / np.maximum(numbers, 1), 1.0)


def _pooled(sums: Array, metric: str, task: Task) -> Array:
    classes = len(task.classes)
    return pooled_metric(sums.reshape(*sums.shape[:-1], classes, classes), metric, task)


def mean_over_folds(scores: list[Array]) -> Array:
    """The mean over folds, without folds that have no left-out images in a draw."""
    table = np.stack(scores)
    known = np.isfinite(table)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, table, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def members_of(folds: NDArray[np.int64], groups: Sequence[str] | None) -> list[NDArray[np.int64]]:
    """For each fold, the number of the group of each of its images; without groups, every image is its own."""
    units = np.arange(len(folds)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    return [np.unique(units[folds == fold], return_inverse=True)[1] for fold in np.unique(folds)]


def draw_groups(members: Sequence[NDArray[np.int64]], draws: int, rng: np.random.Generator) -> Iterator[list[Array]]:
    """How often each group of each fold is drawn, in blocks of draws."""
    counts = [int(each.max()) + 1 for each in members]
    for start in range(0, draws, DRAWS_IN_MEMORY):
        size = min(DRAWS_IN_MEMORY, draws - start)
        yield [rng.multinomial(count, np.full(count, 1 / count), size).astype(np.float64) for count in counts]
