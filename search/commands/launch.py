"""Launching a space: check it, open or resume its run, and run the remaining jobs on Ray."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from search.engine.job_feed import EngineSettings
from search.engine.listeners import Listeners, Notify, Outcome, broadcast
from search.engine.ray_adapter import run_study
from search.messages import Entrant, Finished, Job
from search.planning.files import unlabelled_splits, weights_files
from search.planning.gpu_memory import memory_candidates
from search.planning.plan import PlanOptions
from search.planning.plan_output import show_first
from search.planning.trial_kinds import kind_of
from search.policies.contract import Policy
from search.policies.registry import policy_of
from search.runs.journal import Journal
from search.runs.recovery import import_reports, recover
from search.runs.run_folder import FOLDS, STOP_FILE, Run, check_run, record_launch
from search.runs.study import Study, replay_lines
from search.samplers.growing_study import GrowingStudy
from search.samplers.proposals import ListProposals, Proposals, RandomProposals
from search.tracking.sync import track_run
from search.tracking.tracker import make_trackers
from spaces.schema.samplers import GridSampler, OptunaSampler
from spaces.space import Point, Space
from trainable.data.decoded_images import label_facts
from trainable.data.folds import folds_of, load_folds, save_folds
from trainable.data.labelled import SCRIBBLES, Labelled
from trainable.data.shipment import Shipment
from trainable.errors import UserError
from trainable.machine.allotment import Target
from trainable.printing import plural, say
from trainable.storage.shared_file import SharedFile
from trainable.storage.urls import is_url


@dataclass(frozen=True)
class LaunchOptions:
    """The options of a launch; ``rebuild`` recreates a damaged journal from the fold folders."""

    root: str
    force_code: bool
    rebuild: bool
    plan: PlanOptions
    address: str | None
    dashboard: bool
    show: Callable[[Run], AbstractContextManager[Notify]]


def launch_space(space: Space, options: LaunchOptions) -> tuple[Run, Policy, Outcome]:
    """Run a space to completion, resuming its run if there is one."""
    if not is_url(options.root):
        return _launch(space, options, Run(Path(options.root, space.settings.name)))
    from search.run_storage.stored_run import acquire_run

    with acquire_run(options.root, space.settings.name, options.rebuild) as run:
        return _launch(space, options, run)


def _launch(space: Space, options: LaunchOptions, run: Run) -> tuple[Run, Policy, Outcome]:
    trackers = make_trackers(space.settings.tracking, run.folder)
    kind = kind_of(space)
    for warning in kind.check(space, memory_candidates(space)):
        say(f"warning: {warning}")
    data = kind.open(space)
    data_hash = None if data is None else data.hash
    if data is not None and data.scored_on == SCRIBBLES:
        say(f"{data.split.root}: has no masks, so folds are scored on the scribbled pixels of held-out images")
    weights = {} if data is None else weights_files(space)
    contents = {name: file.hash for name, file in weights.items()}
    check_run(space, run, data_hash, options.force_code, contents)
    if data is not None:
        kind.check_models(space, data, weights)
    if options.rebuild:
        say(f"{run.journal}: rebuilt from the fold folders with {plural(recover(run, space), 'report')}")
    with Journal(run.journal) as journal:
        policy = policy_of(space)
        replay_lines(policy, run.lines())
        if run.journal_may_lag and (ahead := import_reports(Study(policy, journal), run, space)):
            say(f"{run.address}: its fold folders were {plural(ahead, 'report')} ahead of its journal")
        record_launch(run, space, data_hash, {} if data is None else label_facts(data), contents)
        shipment = None if data is None else _shipment(space, run, data, weights)
        show_first(run.folder, space, options.plan)
        (run.folder / STOP_FILE).unlink(missing_ok=True)
        with (
            track_run(trackers, run.folder, policy.score_table.entrants, run.lines()) as track,
            _proposals(space, run, policy) as (proposals, learn),
        ):
            values: dict[str, Any] = {}

            def admit(point: Point) -> None:
                run.record_config(point)
                values[point.id] = point.config.model_dump(mode="json")

            def admit_new(point: Point) -> None:
                admit(point)
                learn()

            for entrant in list(policy.score_table.entrants.values()):
                admit(_recorded_point(space, entrant, run))
            study = GrowingStudy(policy, journal, proposals, admit_new)
            study.begin(host=socket.gethostname(), pid=os.getpid())
            study.add_proposals()
            configs = "as many configs as the budget allows"
            if proposals.count is not None:
                configs = plural(proposals.count, "config")
            folds = plural(space.settings.folds, "fold")
            say(f"{run.address}: {configs} x {folds}, scheduler {space.settings.scheduler.name}")
            if (over := _already_over(policy)) is not None:
                journal.append("end", reason=over.reason)
                within = " within the budget" if over.budget_spent else ""
                say(f"nothing left to run{within}, so Ray is not started")
                return run, policy, over
            if data is not None and options.address is None:  # on a cluster, the nodes fetch them
                kind.fetch(space)
            with options.show(run) as notice:
                listeners = Listeners(broadcast(track, lambda event, facts: learn()), notice)
                outcome = run_study(
                    study,
                    values,
                    _settings(space, run),
                    _target(space, options),
                    listeners,
                    shipment,
                    partial(kind.footprint, space),
                )
                journal.append("end", reason=outcome.reason)  # before the view closes, to be in its last frame
    return run, policy, outcome


def _recorded_point(space: Space, entrant: Entrant, run: Run) -> Point:
    """Resolve a config of the journal and check its id, which is a hash of its parameters."""
    point = space.resolve(entrant.parameters)
    if point.id != entrant.config:
        raise UserError(f"{run.journal}: the parameters of config {entrant.config} give the id {point.id}")
    return point


@contextmanager
def _proposals(space: Space, run: Run, policy: Policy) -> Iterator[tuple[Proposals, Callable[[], None]]]:
    """The source of the configs, and a callback for new results."""
    sampler = space.settings.sampler
    if isinstance(sampler, OptunaSampler):
        from search.samplers.optuna_adapter import OptunaProposals, stored_study  # late: slow to import

        proposals = OptunaProposals(space, sampler)
        stored = stored_study(proposals, run.folder, policy)
        stored.write()
        try:
            yield proposals, stored.note
        finally:
            stored.write()
    elif isinstance(sampler, GridSampler):
        yield ListProposals(space.configs()), lambda: None
    else:
        yield RandomProposals(space, sampler.seed, sampler.count), lambda: None


def _target(space: Space, options: LaunchOptions) -> Target:
    resources = space.settings.resources
    root = options.root if is_url(options.root) else str(Path(options.root).absolute())
    return Target(options.address, root, options.dashboard, resources.cpu, resources.gpu)


def _already_over(policy: Policy) -> Outcome | None:
    """The outcome of a run without remaining jobs, for which Ray need not start."""
    action = policy.next()
    if isinstance(action, Job):
        policy.lost(action)
    return Outcome(action.reason, budget_spent=policy.score_table.exhausted) if isinstance(action, Finished) else None


def _shipment(space: Space, run: Run, data: Labelled, weights: Mapping[str, SharedFile]) -> Shipment:
    """The data with the folds of the run, created before its first trial and the same for every config."""
    path = run.folder / FOLDS
    if not path.exists():
        save_folds(folds_of(data, space.settings.folds, space.settings.fold_seed), path)
    return Shipment(
        load_folds(path, data.hash),
        data.split.root.parent.absolute(),
        data.split.name,
        validation=space.settings.validation,
        unlabelled=unlabelled_splits(space),
        weights=weights,
        plugins=space.settings.plugins,
    )


def _settings(space: Space, run: Run) -> EngineSettings:
    settings = space.settings
    keep = settings.keep_probabilities and "store" not in run.job_settings  # to a store, only a fold's own files go
    job = {
        "metric": settings.metric.name,
        "trainable": settings.trainable,
        "keep_probabilities": keep,
        **run.job_settings,
    }
    return EngineSettings(folder=run.folder, job=job, wall=settings.budget.wall, trials=settings.budget.trials)
