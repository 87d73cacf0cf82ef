"""One real driver and a simulated cluster: GPUs that read generated curves, and wait in a line for its decisions.

The policy, the study and the journal are the real ones, and so are the seconds that each decision takes: the CPU time
of this process, and for each record what a sync of the disk takes. The clock is simulated.
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
SECONDS = 600.0  # that a fold trial takes on average at full length
SPREAD = 0.05  # of the log of a fold trial's speed beyond its batch size: no two GPUs keep step for long


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
        missing = score_gap(self.recipe.shape, self.times[step - 1], self.pace[row, fold], rng)
        score = self.final[row, fold] - missing + wobble
        return Report(config, fold, step, float(score), float(self.seconds[row, fold] * self.times[step - 1]))

    def place(self, config: str) -> int:
        """How many configs have a better mean over the folds."""
        means = self.final.mean(1)
        return int((means > means[int(config[1:])]).sum())


class CountedJournal(Journal):
    """A journal that knows how many records this driver wrote."""

    records = 0

    def append(self, kind: str, **fields: Any) -> None:
        super().append(kind, **fields)
        self.records += 1


@dataclass
class Tally:
    """What came of a run: seconds by the simulated clock, but for those of the decisions, which are real."""

    launch: float = 0.0  # of the driver, before it asks for the first GPU
    wall: float = 0.0
    busy: float = 0.0  # GPU-seconds that were trained
    waited: float = 0.0  # GPU-seconds for which a decision, or the driver's turn, was waited for
    decisions: array[float] = field(default_factory=lambda: array("d"))
    reports: int = 0


class Driver:
    """Takes what the GPUs tell in its turn, one after the other, as the engine does."""

    def __init__(self, policy: Policy, world: World, gpus: int, journal: Path, sync: float) -> None:
        self.world, self.free, self.sync = world, gpus, sync
        self.tally = Tally()
        self.order = 0
        self.now = self.ready = 0.0  # when the turn began by the clock; when the driver is through with it
        self.done: dict[Cell, int] = {}
        self.events: list[tuple[float, int, Job]] = []
        self.journal = CountedJournal(journal, clock=lambda: self.now)
        self.study = Study(policy, self.journal)

    def run(self) -> Tally:
        tally = self.tally
        with self.journal:
            _, tally.launch = self._timed(self._let_in)
            self._hand_out()
            while self.events:
                self.now, _, job = heapq.heappop(self.events)
                self.ready = max(self.ready, self.now)
                self._hear(job)
                self._hand_out()
        return tally

    def _let_in(self) -> None:
        self.study.begin(host="simulated", pid=os.getpid())
        for entrant in self.world.entrants:
            self.study.add(entrant)

    def _hear(self, job: Job) -> None:
        step = self.done[job.config, job.fold] = self.done.get((job.config, job.fold), 0) + 1
        report = self.world.report(job.config, job.fold, step)
        verdict, seconds = self._timed(lambda: self.study.report(report))
        self._decided(seconds)
        self.tally.reports += 1
        self.tally.busy += self._seconds(job)
        self.tally.wall = self.ready
        if isinstance(verdict, Stop):
            self.free += 1  # what it then waits for is its next job, if there is one
        else:
            self._train(job)

    def _hand_out(self) -> None:
        while self.free:
            said, seconds = self._timed(self.study.next)
            if not isinstance(said, Job):
                self.ready += seconds
                return
            self._decided(seconds)
            self.free -= 1
            self._train(said)

    def _decided(self, seconds: float) -> None:
        self.ready += seconds
        self.tally.decisions.append(seconds)

    def _train(self, job: Job) -> None:
        """The GPU has waited since it told something, or, where it idled, since there was something to tell it of."""
        self.tally.waited += self.ready - self.now
        self.order += 1
        heapq.heappush(self.events, (self.ready + self._seconds(job), self.order, job))

    def _seconds(self, job: Job) -> float:
        """From one report to the next."""
        return float(self.world.seconds[int(job.config[1:]), job.fold]) / self.world.evaluations

    def _timed(self, work: Callable[[], R]) -> tuple[R, float]:
        records, began = self.journal.records, time.process_time()
        said = work()
        return said, time.process_time() - began + self.sync * (self.journal.records - records)


def sync_seconds(folder: Path, count: int = 200) -> float:
    """What it takes to sync a record there, by the quicker quarter: others may hold the machine up, not the disk."""
    took = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"." * 150)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return sorted(took)[count // 4]
