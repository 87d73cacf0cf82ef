"""Launching a space: check, open its run, bring back what was done, run the rest on Ray, and say what came of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search.engine import run_here
from search.feed import Outcome, Settings, Watcher
from search.growing import GrowingStudy
from search.journal import Journal
from search.policy import Policy
from search.proposals import Drawn, Listed, Proposals
from search.recover import recover
from search.run_folder import FOLDS, STOP_FILE, Run, note_launch, open_run
from search.schedulers import policy_of
from search.study import replay_lines
from search.words import Finished, Job
from spaces.parameters import Choice
from spaces.samplers import GridSampler, OptunaSampler
from spaces.space import Point, Space
from trainable.cache import Data, open_data
from trainable.folds import folds_of, save_folds
from trainable.printing import progress_bar, say


def launch_space(
    space: Space, root: Path, force_code: bool, rebuild: bool, tell: Watcher
) -> tuple[Run, Policy, Outcome]:
    """Run a space to its end; one that was begun goes on where it stopped."""
    data = _prepare_data(space)
    data_hash = None if data is None else data.hash
    run = open_run(space, root / space.settings.name, data_hash, force_code)
    if rebuild:
        say(f"{run.journal}: rebuilt from the fold folders with {recover(run, space)} reports")
    with Journal(run.journal) as journal:
        policy = policy_of(space)
        replay_lines(policy, run.lines())
        note_launch(run, space, data_hash)
        _write_folds(space, run, data)
        (run.folder / STOP_FILE).unlink(missing_ok=True)
        with _proposals(space, run, policy) as (proposals, note):
            values: dict[str, Any] = {}

            def prepare(point: Point) -> None:
                run.note_config(point)
                values[point.id] = point.config.model_dump(mode="json")

            def admit(point: Point) -> None:
                prepare(point)
                note()

            def told(event: str, facts: Mapping[str, Any]) -> None:
                tell(event, facts)
                note()

            for entrant in list(policy.board.entrants.values()):
                prepare(space.resolve(entrant.parameters))
            study = GrowingStudy(policy, journal, proposals, admit)
            study.begin(host=socket.gethostname(), pid=os.getpid())
            study.let_in()
            asked = space.settings
            count = "as many as the budget allows" if proposals.count is None else proposals.count
            say(f"{run.folder}: {count} configs x {asked.folds} folds, scheduler {asked.scheduler.name}")
            if (over := _already_over(policy)) is not None:
                return run, policy, over
            wanted = asked.resources
            outcome = run_here(study, values, _settings(space, run), wanted.cpu, wanted.gpu, told)
            journal.append("end", reason=outcome.reason)
    return run, policy, outcome


@contextmanager
def _proposals(space: Space, run: Run, policy: Policy) -> Iterator[tuple[Proposals, Callable[[], None]]]:
    """Where configs come from, and who is to be told that there may be news."""
    sampler = space.settings.sampler
    if isinstance(sampler, OptunaSampler):
        from search.optuna_sampler import OptunaProposals, stored_study  # late: it takes a second

        asked = OptunaProposals(space, sampler)
        stored = stored_study(asked, run.folder, policy)
        stored.write()
        try:
            yield asked, stored.note
        finally:
            stored.write()
    elif isinstance(sampler, GridSampler):
        yield Listed(space.configs()), lambda: None
    else:
        yield Drawn(space, sampler.seed, sampler.count), lambda: None


def _already_over(policy: Policy) -> Outcome | None:
    """A run that has nothing left to do needs no Ray to say so."""
    said = policy.next()
    if isinstance(said, Job):
        policy.lost(said)
    return Outcome(said.reason, budget_spent=policy.board.exhausted) if isinstance(said, Finished) else None


def _prepare_data(space: Space) -> Data | None:
    """Decode the images at every size that a config may ask for before the first one does."""
    if not space.trainable.needs_data:
        return None
    size = space.parameters.get("size")
    asked = list(size.values) if isinstance(size, Choice) else []
    if size is None or size.when:
        asked.append(space.constants.get("size", space.trainable.default("size")))
    sizes = dict.fromkeys(space.trainable.config.model_validate({"size": each}).size for each in asked)
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
