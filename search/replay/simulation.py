"""A simulated cluster: a clock, a heap of events, W workers that read recorded curves instead of training."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

from search.messages import Job, Stop
from search.policies.contract import Policy
from search.race.score_table import Cell
from search.replay.recorded_study import Curves
from search.replay.timetable import JobInterval


@dataclass(frozen=True)
class SimulationResult:
    """GPU-seconds that were trained, the clock at the end, and every job in the order in which they were handed out."""

    seconds: float
    wall: float
    intervals: tuple[JobInterval, ...]


def simulate(policy: Policy, curves: Curves, workers: int) -> SimulationResult:
    """Drive a policy to its end. A stopped fold trial goes on later from where it stopped, as from its
    checkpoint.
    """
    done: dict[Cell, int] = {}  # reports that a fold trial has behind it
    events: list[tuple[float, int, Job]] = []
    begun: dict[Cell, tuple[int, float, bool]] = {}  # of jobs: place in the order, begin, first of its cell
    intervals: dict[int, JobInterval] = {}
    clock, free, count = 0.0, workers, 0
    while True:
        while free and isinstance(job := policy.next(), Job):
            free, count = free - 1, count + 1
            begun[job.config, job.fold] = (count, clock, (job.config, job.fold) not in done)
            heapq.heappush(events, (clock + _seconds(job, done, curves), count, job))
        if not events:
            seconds = math.fsum(curves[cell][place - 1].seconds for cell, place in done.items())
            return SimulationResult(seconds, clock, tuple(intervals[place] for place in sorted(intervals)))
        clock, _, job = heapq.heappop(events)
        cell = (job.config, job.fold)
        place = done.get(cell, 0)
        done[cell] = place + 1
        if isinstance(policy.report(curves[cell][place]), Stop):
            free += 1
            order, begin, first = begun[cell]
            intervals[order] = JobInterval(begin, clock, first)
        else:
            count += 1
            heapq.heappush(events, (clock + _seconds(job, done, curves), count, job))


def _seconds(job: Job, done: dict[Cell, int], curves: Curves) -> float:
    """From where the fold trial stands to its next report."""
    curve, place = curves[job.config, job.fold], done.get((job.config, job.fold), 0)
    return curve[place].seconds - (curve[place - 1].seconds if place else 0.0)
