"""Launching a space: check, open its run, bring back what was done, run the rest on Ray, and say what came of it."""

from __future__ import annotations

import os
import random
import shlex
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from search.engine import STOP_FILE, Outcome, Settings, Watcher, run_study
from search.journal import Journal
from search.policy import Policy
from search.run_folder import FOLDS, Run, open_run
from search.schedulers import scheduler
from search.study import Study, replay_lines
from search.words import Entrant
from spaces.samplers import GridSampler, RandomSampler
from spaces.space import Point, Space
from trainable.errors import UserError
from trainable.printing import progress_bar, say


def launch_space(space: Space, root: Path, force_code: bool, tell: Watcher) -> tuple[Run, Policy, Outcome]:
    """Run a space to its end; one that was begun goes on where it stopped."""
    points = _points(space)
    data_hash = _prepare_data(space)
    run = open_run(space, root / space.settings.name, data_hash, force_code)
    with Journal(run.journal) as journal:
        _write_folds(space, run)
        for point in points:
            run.note_config(point)
        (run.folder / STOP_FILE).unlink(missing_ok=True)
        policy = make_policy(space)
        replay_lines(policy, run.lines())
        study = Study(policy, journal)
        study.begin(host=socket.gethostname(), pid=os.getpid())
        for point in points:
            study.add(Entrant(point.id, tuple(point.config.report_steps(point.config.steps)), dict(point.values)))
        say(f"{run.folder}: {len(points)} configs x {space.settings.folds} folds, scheduler {space.settings.scheduler.name}")
        with _ray(space) as (cpus, gpus, slots):
            settings = _settings(space, run, cpus, gpus, slots)
            values = {point.id: point.config.model_dump(mode="json") for point in points}
            outcome = run_study(study, values, settings, tell)
        journal.append("end", reason=outcome.reason)
    return run, policy, outcome


def make_policy(space: Space) -> Policy:
    """The policy that a space asks for, with no config yet."""
    settings = space.settings.scheduler.model_dump(exclude_none=True)
    hours = space.settings.budget.gpu_hours
    build = scheduler(settings.pop("name"), **settings)
    return build([], space.settings.folds, budget=None if hours is None else hours * 3600)


def _points(space: Space) -> Iterable[Point]:
    sampler = space.settings.sampler
    if isinstance(sampler, GridSampler):
        return space.configs()
    if isinstance(sampler, RandomSampler) and sampler.count is not None:
        rng = random.Random(sampler.seed)
        drawn: dict[str, Point] = {}
        for _ in range(100 * sampler.count):
            point = space.sample(rng)
            drawn.setdefault(point.id, point)
            if len(drawn) == sampler.count:
                break
        return tuple(drawn.values())
    raise UserError(f"sampler {sampler.name!r}: can be checked and shown, but only grid and random (with a count) be launched")
