"""Schedules jobs on slots and computes their total usage up to the limits of a budget."""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JobInterval:
    """One job on one worker, from being handed out until it stops; ``first`` if it starts a fold trial."""

    begin: float
    end: float
    first: bool


@dataclass(frozen=True)
class Limits:
    """The limits that end a run: GPU-seconds, wall-clock seconds, and the number of started fold trials."""

    gpu_seconds: float | None = None
    wall: float | None = None
    trials: int | None = None


@dataclass(frozen=True)
class Usage:
    """What a run uses; ``ended_by`` names the limit that ended it, if one did."""

    gpu_seconds: float
    wall: float
    trials: int
    ended_by: str | None = None


def schedule_in_order(seconds: Iterable[float], slots: int) -> list[JobInterval]:
    """Full-length fold trials, each on the first slot that becomes free."""
    free = [0.0] * slots
    intervals = []
    for length in seconds:
        begin = free[0]
        heapq.heapreplace(free, begin + length)
        intervals.append(JobInterval(begin, begin + length, first=True))
    return intervals


def usage(intervals: Sequence[JobInterval], limits: Limits) -> Usage:
    """The usage of these intervals, in the order in which they were handed out, until their end or the first limit.

    A real run waits for the next report of each running fold trial, so it uses slightly more.
    """
    started = _until_trials(intervals, limits.trials)
    ended_by = "trials" if len(started) < len(intervals) else None
    begins = np.array([interval.begin for interval in started])
    ends = np.array([interval.end for interval in started])
    wall = float(ends.max(initial=0.0))
    if limits.gpu_seconds is not None and limits.gpu_seconds < _busy(begins, ends, wall):
        wall, ended_by = _when(begins, ends, limits.gpu_seconds), "gpu_hours"
    if limits.wall is not None and limits.wall < wall:
        wall, ended_by = limits.wall, "wall"
    begun = sum(interval.first and (interval.begin < wall or not wall) for interval in started)
    return Usage(_busy(begins, ends, wall), wall, begun, ended_by)


def _until_trials(intervals: Sequence[JobInterval], trials: int | None) -> Sequence[JobInterval]:
    """The jobs up to the one that starts the last fold trial of the budget; no job is handed out after it."""
    begun = 0
    for number, interval in enumerate(intervals, 1):
        begun += interval.first
        if begun == trials:
            return intervals[:number]
    return intervals


def _busy(begins: Array, ends: Array, until: float) -> float:
    """Worker-seconds used until a moment."""
    return math.fsum(np.clip(until - begins, 0.0, ends - begins))


def _when(begins: Array, ends: Array, spent: float) -> float:
    """The moment at which ``spent`` worker-seconds are used; between two events usage grows linearly."""
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
