"""Launching a space: check, open its run, bring back what was done, run the rest on Ray, and say what came of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from search.engine import run_here
from search.feed import Audience, Notice, Outcome, Settings
from search.journal import Journal
from search.measure import measure_space
from search.plan import Asked
from search.policy import Policy
from search.recover import recover
from search.run_folder import FOLDS, STOP_FILE, Run, note_launch, open_run
from search.schedulers import policy_of
from search.show_plan import show_first
from search.study import Study, replay_lines
from search.tracking.follow import followed
from search.tracking.tracker import trackers_of
from search.words import Entrant, Finished, Job
from spaces.samplers import GridSampler, RandomSampler
from spaces.space import Point, Space
from trainable.cache import Data, open_data
from trainable.errors import UserError
from trainable.folds import folds_of, save_folds
from trainable.printing import progress_bar, say


@dataclass(frozen=True)
class Request:
    """What was asked for beside the space; ``rebuild`` is of a damaged journal."""

    root: Path
    force_code: bool
    rebuild: bool
    plan: Asked
    dashboard: bool
    show: Callable[[Run], AbstractContextManager[Notice]]


def launch_space(space: Space, request: Request) -> tuple[Run, Policy, Outcome]:
    """Run a space to its end; one that was begun goes on where it stopped."""
    points = _points(space)
    trackers = trackers_of(space.settings.tracking, request.root / space.settings.name)
    data = _prepare_data(space, points)
    data_hash = None if data is None else data.hash
    run = open_run(space, request.root / space.settings.name, data_hash, request.force_code)
    if request.rebuild:
        say(f"{run.journal}: rebuilt from the fold folders with {recover(run, space, points)} reports")
    with Journal(run.journal) as journal:
        note_launch(run, space, data_hash)
        _write_folds(space, run, data)
        for point in points:
            run.note_config(point)
        show_first(run.folder, space, request.plan)
        (run.folder / STOP_FILE).unlink(missing_ok=True)
        policy = policy_of(space)
        replay_lines(policy, run.lines())
        study = Study(policy, journal)
        study.begin(host=socket.gethostname(), pid=os.getpid())
        for point in points:
            study.add(Entrant(point.id, tuple(point.config.report_steps(point.config.steps)), dict(point.values)))
        asked = space.settings
        say(f"{run.folder}: {len(points)} configs x {asked.folds} folds, scheduler {asked.scheduler.name}")
        with followed(trackers, run.folder, policy.board.entrants, run.lines()) as track:
            if (over := _already_over(policy)) is not None:
                journal.append("end", reason=over.reason)
                return run, policy, over
            values = {point.id: point.config.model_dump(mode="json") for point in points}
            wanted = space.settings.resources
            measure = partial(measure_space, space) if space.trainable.needs_data else None
            with request.show(run) as notice:
                audience, how = Audience(track, notice), _settings(space, run)
                outcome = run_here(study, values, how, wanted.cpu, wanted.gpu, request.dashboard, audience, measure)
                journal.append("end", reason=outcome.reason)
    return run, policy, outcome


def _already_over(policy: Policy) -> Outcome | None:
    """A run that has nothing left to do needs no Ray to say so."""
    said = policy.next()
    if isinstance(said, Job):
        policy.lost(said)
    return Outcome(said.reason, budget_spent=policy.board.exhausted) if isinstance(said, Finished) else None


def _points(space: Space) -> tuple[Point, ...]:
    sampler = space.settings.sampler
    if isinstance(sampler, GridSampler):
        return space.configs()
    if isinstance(sampler, RandomSampler) and sampler.count is not None:
        return space.draw(sampler.count, sampler.seed)
    raise UserError(f"sampler {sampler.name!r}: only grid, and random with a count, can be launched so far")


def _prepare_data(space: Space, points: tuple[Point, ...]) -> Data | None:
    """Decode the images at every size before the first trial asks for them."""
    if not space.trainable.needs_data:
        return None
    sizes = {point.config.size: None for point in points}
    with progress_bar("decoding images") as progress:
        opened = [open_data(Path(str(space.settings.data)), size, progress=progress) for size in sizes]
    return opened[0]


def _write_folds(space: Space, run: Run, data: Data | None) -> None:
    """Folds are dealt once, before the first trial, and every config is trained on the same ones."""
    if data is not None and not (run.folder / FOLDS).exists():
        save_folds(folds_of(data, space.settings.folds, space.settings.fold_seed), run.folder / FOLDS)


def _settings(space: Space, run: Run) -> Settings:
    settings = space.settings
    job: dict[str, Any] = {
        "trainable": settings.trainable,
        "data": str(Path(str(settings.data)).absolute()),
        "split": "train",
        "folds": str((run.folder / FOLDS).absolute()),
        "metric": settings.metric.name,
    }
    return Settings(
        folder=run.folder,
        job=job,
        wall=settings.budget.wall,
        trials=settings.budget.trials,
    )
