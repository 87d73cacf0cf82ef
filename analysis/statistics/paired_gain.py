"""How much one set of predictions is better than another one of the same images, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.bootstrap import DRAWS, LEVEL
from analysis.statistics.fold_scores import (
    Array,
    draw_groups,
    fold_scores,
    mean_over_folds,
    members_of,
    metric_of_sums,
    parts_of,
)
from trainable.data.task import TWO_CLASSES, Task


@dataclass(frozen=True)
class Gain:
    """The difference of scores, its standard error and its interval; NaN where every fold holds out a single unit."""

    mean: float
    error: float
    low: float
    high: float


def paired_gain(
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    folds: NDArray[np.int64],
    metric: str,
    groups: Sequence[str] | None = None,
    task: Task = TWO_CLASSES,
    draws: int = DRAWS,
    seed: int = 0,
) -> Gain:
    """``before`` and ``after`` are images x confusion matrix; for a metric of volumes they are those of volumes.

    Scores are means over folds, as those of runs. Images, or the groups that they belong to, are drawn with replacement
    within their fold, the same ones for both. The interval is that of percentiles. It covers the sampling of
    images, given the trained models.
    """
    metric_of, members = metric_of_sums(metric, task), members_of(folds, groups)
    chosen = [folds == fold for fold in np.unique(folds)]
    parts = [parts_of(np.stack([before[each], after[each]]), metric, task) for each in chosen]
    actual = mean_over_folds([fold_scores(part, np.ones((1, part.shape[1])), metric_of) for part in parts])[0]
    if not any(each.any() for each in members):
        return Gain(float(actual[1] - actual[0]), math.nan, math.nan, math.nan)
    differences: list[Array] = []
    for drawn in draw_groups(members, draws, np.random.default_rng(seed)):
        tables = [
            fold_scores(part, times[:, each], metric_of)
            for part, times, each in zip(parts, drawn, members, strict=True)
        ]
        table = mean_over_folds(tables)
        differences.append(table[:, 1] - table[:, 0])
    found = np.concatenate(differences)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(found, [tail, 100 - tail])
    return Gain(float(actual[1] - actual[0]), float(found.std()), float(low), float(high))
