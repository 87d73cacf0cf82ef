"""How the counts of held-out images become scores of folds, and how two sets of counts are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from analysis.statistics.bootstrap import DRAWS
from analysis.statistics.fold_scores import fold_scores, metric_of_sums, parts_of
from analysis.statistics.paired_gain import Gain, paired_gain
from trainable.data.task import Task
from trainable.objectives.metrics import Counts, is_of_volumes, volume_counts

T = TypeVar("T")


@dataclass(frozen=True)
class Scoring:
    """``folds`` has the fold of each image, ``volumes`` and ``groups`` what it belongs to, if it does."""

    metric: str
    task: Task
    folds: npt.NDArray[np.int64]
    volumes: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    @property
    def unit(self) -> str:
        """What is drawn for an interval."""
        if self.groups is not None:
            return "group"
        return "volume" if is_of_volumes(self.metric) else "image"

    @cached_property
    def fold_numbers(self) -> list[int]:
        return [int(fold) for fold in np.unique(self.folds)]

    def by_fold(self, counts: Counts) -> npt.NDArray[np.float64]:
        """The metric of each fold."""
        found, metric_of = self._scored(counts), metric_of_sums(self.metric, self.task)
        scores = []
        for fold in self.fold_numbers:
            parts = parts_of(found[None, self._unit_folds == fold], self.metric, self.task)
            scores.append(fold_scores(parts, np.ones((1, parts.shape[1])), metric_of)[0, 0])
        return np.array(scores)

    def gain(self, before: Counts, after: Counts, without: int | None = None, draws: int = DRAWS) -> Gain:
        """The gain of ``after``, on all folds or on all but one."""
        used = np.ones(len(self._unit_folds), np.bool_) if without is None else self._unit_folds != without
        groups = None if self._unit_groups is None else [self._unit_groups[place] for place in np.flatnonzero(used)]
        first, second = self._scored(before)[used], self._scored(after)[used]
        return paired_gain(first, second, self._unit_folds[used], self.metric, groups, self.task, draws)

    def _scored(self, counts: Counts) -> Counts:
        """The counts of what the metric averages over or pools: volumes, or images."""
        return volume_counts(counts, self._volumes) if self._volumes else counts

    @cached_property
    def _volumes(self) -> tuple[str, ...]:
        return (self.volumes or ()) if is_of_volumes(self.metric) else ()

    @cached_property
    def _unit_folds(self) -> npt.NDArray[np.int64]:
        return np.array(self._of_units(self.folds.tolist()), np.int64)

    @cached_property
    def _unit_groups(self) -> list[str] | None:
        return None if self.groups is None else self._of_units(self.groups)

    def _of_units(self, values: Sequence[T]) -> list[T]:
        """Values of images as those of volumes, if these are scored; no fold or group splits a volume."""
        if not self._volumes:
            return list(values)
        of_volume = dict(zip(self._volumes, values, strict=True))
        return [of_volume[volume] for volume in sorted(of_volume)]
