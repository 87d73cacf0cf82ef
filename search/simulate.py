"""A simulated cluster: a clock, a heap of events, W workers that read recorded curves instead of training."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from search.policy import Policy
from search.recorded import Curves
from search.words import Job, Stop


@dataclass(frozen=True)
class Spent:
    """GPU-seconds that were trained, and the clock at the end."""

    seconds: float
    wall: float


def simulate(policy: Policy, curves: Curves, workers: int) -> Spent:
    """Drive a policy to its end. A stopped fold trial goes on later from where it stopped, as from its
    checkpoint.
    """
    done: dict[tuple[str, int], int] = {}  # reports that a fold trial has behind it
    events: list[tuple[float, int, Job, float]] = []
    clock, spent, free, count = 0.0, 0.0, workers, 0
    while True:
        while free:
            job = policy.next()
            if not isinstance(job, Job):
                break
            free -= 1
            count += 1
            heapq.heappush(events, _after(clock, job, done, curves, count))
        if not events:
            return Spent(spent, clock)
        clock, _, job, seconds = heapq.heappop(events)
        spent += seconds
        cell = (job.config, job.fold)
        place = done.get(cell, 0)
        report = curves[cell][place]
        done[cell] = place + 1
        verdict = policy.report(report)
        if isinstance(verdict, Stop) or report.step >= job.until:
            free += 1
            continue
        count += 1
        heapq.heappush(events, _after(clock, job, done, curves, count))


def _after(
    clock: float, job: Job, done: dict[tuple[str, int], int], curves: Curves, count: int
) -> tuple[float, int, Job, float]:
    """The next report of a job: when it comes, and the GPU-seconds since the one before."""
    cell = (job.config, job.fold)
    curve, place = curves[cell], done.get(cell, 0)
    seconds = curve[place].seconds - (curve[place - 1].seconds if place else 0.0)
    return clock + seconds, count, job, seconds
