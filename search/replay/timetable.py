"""When jobs run on a number of slots, what they take together, and where a budget cuts them off."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JobInterval:
    """One job on one worker, from when it is handed out until it stops; ``first`` where it begins a fold trial."""

    begin: float
    end: float
    first: bool


@dataclass(frozen=True)
class Limits:
    """What may end a run: GPU-seconds, seconds on the clock, fold trials begun."""

    gpu_seconds: float | None = None
    wall: float | None = None
    trials: int | None = None


@dataclass(frozen=True)
class Usage:
    """What a run takes; ``ended_by`` names the limit that ended it, if one did."""

    gpu_seconds: float
    wall: float
    trials: int
    ended_by: str | None = None


def schedule_in_order(seconds: Iterable[float], slots: int) -> list[JobInterval]:
    """Fold trials that run whole, one after the other, each on the slot that is free first."""
    free = [0.0] * slots
    intervals = []
    for length in seconds:
        begin = free[0]
        heapq.heapreplace(free, begin + length)
        intervals.append(JobInterval(begin, begin + length, first=True))
    return intervals


def usage(intervals: Sequence[JobInterval], limits: Limits) -> Usage:
    """What these stretches, in the order in which they were handed out, take until they are done or a limit is met.

    A real run goes on until the reports that are under way have come, so it takes up to a report of each slot more.
    """
    within = _within(intervals, limits.trials)
    ended_by = "trials" if len(within) < len(intervals) else None
    begins = np.array([interval.begin for interval in within])
    ends = np.array([interval.end for interval in within])
    wall = float(ends.max(initial=0.0))
    if limits.gpu_seconds is not None and limits.gpu_seconds < _busy(begins, ends, wall):
        wall, ended_by = _when(begins, ends, limits.gpu_seconds), "gpu_hours"
    if limits.wall is not None and limits.wall < wall:
        wall, ended_by = limits.wall, "wall"
    begun = sum(interval.first and (interval.begin < wall or not wall) for interval in within)
    return Usage(_busy(begins, ends, wall), wall, begun, ended_by)


def _within(intervals: Sequence[JobInterval], trials: int | None) -> Sequence[JobInterval]:
    """Once so many fold trials have begun, no job is handed out any more."""
    begun = 0
    for place, interval in enumerate(intervals, 1):
        begun += interval.first
        if begun == trials:
            return intervals[:place]
    return intervals


def _busy(begins: Array, ends: Array, until: float) -> float:
    """The worker-seconds up to this moment."""
    return math.fsum(np.clip(until - begins, 0.0, ends - begins))


def _when(begins: Array, ends: Array, spent: float) -> float:
    """The moment at which so many worker-seconds are spent; between two events they grow evenly."""
    moments = np.unique(np.concatenate([begins, ends]))
    low, high = 0, len(moments) - 1
    while low < high:
        middle = (low + high) // 2
        if _busy(begins, ends, float(moments[middle])) < spent:
            low = middle + 1
        else:
            high = middle
    before = float(moments[max(0, low - 1)])
    running = int(((begins <= before) & (ends > before)).sum())
    return before + (spent - _busy(begins, ends, before)) / max(1, running)
