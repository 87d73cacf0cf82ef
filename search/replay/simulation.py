"""A simulated cluster: a clock, a heap of events, and workers that read recorded curves instead of training."""

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
    """GPU-seconds, the clock at the end, and the interval of every job in the order in which they were handed out."""

    seconds: float
    wall: float
    intervals: tuple[JobInterval, ...]


def simulate(policy: Policy, curves: Curves, workers: int) -> SimulationResult:
    """Drive a policy to its end; a stopped fold trial resumes where it stopped, as from its checkpoint."""
    reported: dict[Cell, int] = {}  # number of reports of each fold trial
    events: list[tuple[float, int, Job]] = []
    running: dict[Cell, tuple[int, float, bool]] = {}  # number and begin of the job, whether it starts a fold trial
    intervals: dict[int, JobInterval] = {}
    clock, free, count = 0.0, workers, 0
    while True:
        while free and isinstance(job := policy.next(), Job):
            free, count = free - 1, count + 1
            running[job.config, job.fold] = (count, clock, (job.config, job.fold) not in reported)
            heapq.heappush(events, (clock + _seconds(job, reported, curves), count, job))
        if not events:
            seconds = math.fsum(curves[cell][reports - 1].seconds for cell, reports in reported.items())
            return SimulationResult(seconds, clock, tuple(intervals[number] for number in sorted(intervals)))
        clock, _, job = heapq.heappop(events)
        cell = (job.config, job.fold)
        reports = reported.get(cell, 0)
        reported[cell] = reports + 1
        if isinstance(policy.report(curves[cell][reports]), Stop):
            free += 1
            number, begin, first = running[cell]
            intervals[number] = JobInterval(begin, clock, first)
        else:
            count += 1
            heapq.heappush(events, (clock + _seconds(job, reported, curves), count, job))


def _seconds(job: Job, reported: dict[Cell, int], curves: Curves) -> float:
    """Seconds until the next report of a fold trial."""
    curve, reports = curves[job.config, job.fold], reported.get((job.config, job.fold), 0)
    return curve[reports].seconds - (curve[reports - 1].seconds if reports else 0.0)
