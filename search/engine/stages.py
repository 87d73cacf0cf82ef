"""Stages before training whose product several fold trials share: one job makes it, others are held back meanwhile.

A job that is held back stays outstanding but takes no slot. Whatever ends the job that makes a product, the next one
that needs it takes its place, so this needs no state beyond the jobs of this driver.
"""

import json
from collections.abc import Mapping
from typing import Any

from search.messages import Job
from search.runs.study import Study
from trainable.config import made_of

Product = tuple[str, int]  # what decides it in the config, and the fold


class SharedStages:
    """Which running trials make a product, and the jobs that wait for one."""

    def __init__(self, study: Study, values: Mapping[str, Mapping[str, Any]]) -> None:
        self.study, self.values = study, values
        self.held_back: list[Job] = []
        self.makers: dict[str, Product] = {}  # by trial
        self.made: set[Product] = set()
        self.seconds: dict[str, float] = {}  # that the stage of a trial has taken so far
        self._decisive: dict[str, str | None] = {}

    def must_wait(self, job: Job) -> bool:
        """Whether another running job is making what this one needs."""
        return bool(self.makers) and self._product(job) in self.makers.values()

    def hold_back(self, job: Job) -> None:
        self.study.hold(job)
        self.held_back.append(job)

    def take_ready(self) -> Job | None:
        """The first job that need not wait any longer, which is handed out now."""
        job = next((job for job in self.held_back if not self.must_wait(job)), None)
        if job is not None:
            self.held_back.remove(job)
            self.study.resume(job)
        return job

    def started(self, trial: str, job: Job) -> None:
        product = self._product(job)
        if product is not None and product not in self.made:
            self.makers[trial] = product

    def progressed(self, trial: str, job: Job, gpus: float, facts: Mapping[str, Any]) -> None:
        """Process what a worker reports before it trains."""
        self.seconds[trial] = float(facts["seconds"])
        if facts["ready"]:
            if (product := self.makers.get(trial)) is not None:
                self.made.add(product)
            self.ended(trial, job, gpus, made=True)

    def ended(self, trial: str, job: Job, gpus: float, made: bool = False) -> None:
        """Record what the stage has taken in this trial, if any; what an unfinished one left is resumed by another."""
        self.makers.pop(trial, None)
        if seconds := self.seconds.pop(trial, 0.0):
            self.study.pretrained(job, seconds, gpus, made)

    def _product(self, job: Job) -> Product | None:
        """What this job needs before it can train; a fold trial that has reported needs nothing."""
        if job.config not in self._decisive:
            decisive = made_of(self.values[job.config])
            self._decisive[job.config] = None if decisive is None else json.dumps(decisive, sort_keys=True)
        name = self._decisive[job.config]
        if name is None or self.study.policy.score_table.curve(job.config, job.fold):
            return None
        return name, job.fold
