"""Run the real driver on a simulated cluster, whose GPUs read generated curves and queue for decisions.

The policy, the study and the journal are real, and each decision takes its real time: the CPU time of this process plus
a disk sync for each record. The clock is simulated.
"""

from __future__ import annotations

import heapq
import os
import random
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from search.messages import Entrant, Job, Report, Stop
from search.policies.contract import Policy
from search.race.score_table import Cell
from search.replay.generated_worlds import RECIPES, SPACE, make_final_scores, score_gap
from search.runs.journal import Journal
from search.runs.study import Study

R = TypeVar("R")

WIDE = SPACE | {
    "encoder": ("resnet18", "resnet34", "efficientnet-b0", "efficientnet-b2", "mobilenet"),
    "learning_rate": (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2),
    "dropout": (0.0, 0.1, 0.2, 0.3),
    "decay": (1e-4, 1e-2),
}  # 20,160 configs
FOLDS = 5
SECONDS = 600.0  # average duration of a complete fold trial
SPREAD = 0.05  # sd of the log speed of a fold trial at equal batch size, so that GPUs do not stay in step


class World:
    """Configs drawn from a wide grid; what a fold trial reports is made when it reports it, and forgotten."""

    def __init__(self, configs: int, evaluations: int, kind: str, seed: int) -> None:
        self.recipe, self.evaluations, self.seed = RECIPES[kind], evaluations, seed
        values = list(product(*WIDE.values()))
        chosen = random.Random(seed).sample(values, configs)
        self.points = [dict(zip(WIDE, point, strict=True)) for point in chosen]
        self.final, self.pace = make_final_scores(self.recipe, self.points, FOLDS, np.random.default_rng(seed))
        self.times = np.arange(1, evaluations + 1) / evaluations
        speed = np.exp(SPREAD * np.random.default_rng(seed + 1).normal(size=(configs, FOLDS)))
        sizes = np.array([float(str(point["batch_size"])) for point in self.points])
        self.seconds = SECONDS * speed * (sizes / np.mean(SPACE["batch_size"]))[:, None]

    @cached_property
    def entrants(self) -> list[Entrant]:
        steps = tuple(range(1, self.evaluations + 1))
        return [Entrant(f"c{row:05d}", steps, point) for row, point in enumerate(self.points)]

    def report(self, config: str, fold: int, step: int) -> Report:
        row = int(config[1:])
        rng = np.random.default_rng([self.seed, row, fold])
        wobble = rng.normal(0, self.recipe.wobble_sd, self.evaluations)[step - 1] if step < self.evaluations else 0.0
        gap = score_gap(self.recipe.shape, self.times[step - 1], self.pace[row, fold], rng)
        score = self.final[row, fold] - gap + wobble
        return Report(config, fold, step, float(score), float(self.seconds[row, fold] * self.times[step - 1]))

    def rank(self, config: str) -> int:
        """The number of configs with a better mean over the folds."""
        means = self.final.mean(1)
        return int((means > means[int(config[1:])]).sum())


class CountedJournal(Journal):
    """A journal that counts the records written by this driver."""

    records = 0

    def append(self, kind: str, **fields: Any) -> None:
        super().append(kind, **fields)
        self.records += 1


@dataclass
class Tally:
    """The result of a run: seconds of the simulated clock, except for the decisions, which take real seconds."""

    launch: float = 0.0  # before the driver starts the first fold trial
    wall: float = 0.0
    busy: float = 0.0  # GPU-seconds of training
    waited: float = 0.0  # GPU-seconds of waiting for the driver or its decision
    decisions: array[float] = field(default_factory=lambda: array("d"))
    reports: int = 0


class Driver:
    """Processes the reports of the GPUs one after the other, as the engine does."""

    def __init__(self, policy: Policy, world: World, gpus: int, journal: Path, sync: float) -> None:
        self.world, self.free, self.sync = world, gpus, sync
        self.tally = Tally()
        self.order = 0
        self.now = self.ready = 0.0  # time of the current report; time at which the driver is free
        self.done: dict[Cell, int] = {}
        self.events: list[tuple[float, int, Job]] = []
        self.journal = CountedJournal(journal, clock=lambda: self.now)
        self.study = Study(policy, self.journal)

    def run(self) -> Tally:
        tally = self.tally
        with self.journal:
            _, tally.launch = self._timed(self._add_configs)
            self._assign_jobs()
            while self.events:
                self.now, _, job = heapq.heappop(self.events)
                self.ready = max(self.ready, self.now)
                self._process_report(job)
                self._assign_jobs()
        return tally

    def _add_configs(self) -> None:
        self.study.begin(host="simulated", pid=os.getpid())
        for entrant in self.world.entrants:
            self.study.add(entrant)

    def _process_report(self, job: Job) -> None:
        step = self.done[job.config, job.fold] = self.done.get((job.config, job.fold), 0) + 1
        report = self.world.report(job.config, job.fold, step)
        verdict, seconds = self._timed(lambda: self.study.report(report))
        self._record_decision(seconds)
        self.tally.reports += 1
        self.tally.busy += self._seconds(job)
        self.tally.wall = self.ready
        if isinstance(verdict, Stop):
            self.free += 1  # it waits for its next job, if there is one
        else:
            self._start_training(job)

    def _assign_jobs(self) -> None:
        while self.free:
            job, seconds = self._timed(self.study.next)
            if not isinstance(job, Job):
                self.ready += seconds
                return
            self._record_decision(seconds)
            self.free -= 1
            self._start_training(job)

    def _record_decision(self, seconds: float) -> None:
        self.ready += seconds
        self.tally.decisions.append(seconds)

    def _start_training(self, job: Job) -> None:
        """The GPU has waited since its report or, if it was idle, since the report that made a job available."""
        self.tally.waited += self.ready - self.now
        self.order += 1
        heapq.heappush(self.events, (self.ready + self._seconds(job), self.order, job))

    def _seconds(self, job: Job) -> float:
        """The seconds between two reports."""
        return float(self.world.seconds[int(job.config[1:]), job.fold]) / self.world.evaluations

    def _timed(self, work: Callable[[], R]) -> tuple[R, float]:
        records, start = self.journal.records, time.process_time()
        result = work()
        return result, time.process_time() - start + self.sync * (self.journal.records - records)


def sync_seconds(folder: Path, count: int = 200) -> float:
    """The time to sync a record in this folder: the lower quartile, because the machine may be busy otherwise."""
    durations = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"." * 150)
            start = time.perf_counter()
            os.fsync(file.fileno())
            durations.append(time.perf_counter() - start)
    return sorted(durations)[count // 4]
