"""Launching a space: open or resume its run, and run the remaining jobs on Ray."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from search.commands.launch_checks import LaunchOptions, check_launch
from search.commands.run_end import failure_recorded, removed_unless_begun, tell_end
from search.engine.job_feed import EngineSettings
from search.engine.listeners import Listener, Listeners, Outcome, broadcast
from search.engine.ray_adapter import run_study
from search.messages import Entrant, Finished, Job
from search.planning.files import unlabelled_splits
from search.planning.plan_output import keep_first
from search.planning.trial_kinds import kind_of
from search.policies.contract import Policy
from search.policies.registry import policy_of
from search.runs.journal import Journal
from search.runs.recovery import import_reports, recover
from search.runs.run_folder import FOLDS, STOP_FILE, Run, record_launch
from search.runs.study import Study, replay_lines
from search.samplers.growing_study import GrowingStudy
from search.samplers.proposals import ListProposals, Proposals, RandomProposals
from search.tracking.sync import track_run
from search.tracking.tracker import make_trackers
from spaces.schema.samplers import GridSampler, OptunaSampler
from spaces.space import Point, Space
from trainable.data.decoded_images import label_facts
from trainable.data.folds import Folds, folds_of, save_folds
from trainable.data.labelled import Labelled
from trainable.data.shipment import Shipment
from trainable.errors import UserError
from trainable.machine.allotment import Target
from trainable.printing import plural, say
from trainable.storage.shared_file import SharedFile
from trainable.storage.urls import is_url


def launch_space(space: Space, options: LaunchOptions) -> tuple[Run, Policy, Outcome]:
    """Run a space to completion, resuming its run if there is one."""
    if not is_url(options.root):
        return _launch(space, options, Run(Path(options.root, space.settings.name)))
    from search.run_storage.stored_run import acquire_run

    with acquire_run(options.root, space.settings.name, options.rebuild) as run:
        return _launch(space, options, run)


def _launch(space: Space, options: LaunchOptions, run: Run) -> tuple[Run, Policy, Outcome]:
    trackers = make_trackers(space.settings.tracking, run.folder)
    checked = check_launch(space, options, run)
    if options.rebuild:
        say(f"{run.journal}: rebuilt from the fold folders with {plural(recover(run, space), 'report')}")
    with Journal(run.journal) as journal, removed_unless_begun(run):
        policy = policy_of(space)
        lines = run.lines()
        replay_lines(policy, lines)
        if unchecked := sum(not line.checked for line in lines):
            records = plural(unchecked, "record")
            say(f"{run.journal}: {records} of an older version without a checksum; new ones have it")
        if run.journal_may_lag and (ahead := import_reports(Study(policy, journal), run, space)):
            say(f"{run.address}: its fold folders were {plural(ahead, 'report')} ahead of its journal")
        assigned = None if checked.data is None else _folds(space, run, checked.data)
        labels = {} if checked.data is None else label_facts(checked.data)
        record_launch(run, space, checked.data_hash, labels, checked.contents, assigned)
        keep_first(run.folder, checked.plan)
        shipment = None
        if checked.data is not None and assigned is not None:
            shipment = _shipment(space, run, checked.data, assigned, checked.weights)
        (run.folder / STOP_FILE).unlink(missing_ok=True)
        with (
            track_run(trackers, run.folder, policy.score_table.entrants, run.lines()) as track,
            _proposals(space, run, policy) as (proposals, learn),
        ):
            study, values = _begin(space, run, Study(policy, journal), proposals, learn)
            listener = broadcast(track, lambda event, facts: learn())
            with failure_recorded(space, run, study):
                outcome = _already_over(policy)
                if outcome is None:
                    outcome = _drive(space, options, run, study, values, listener, shipment)
                else:
                    journal.append("end", reason=outcome.reason)
            tell_end(space, run, policy, outcome)
    return run, policy, outcome


def _begin(
    space: Space, run: Run, study: Study, proposals: Proposals, learn: Callable[[], None]
) -> tuple[GrowingStudy, dict[str, Any]]:
    """The study with its first configs, and the hyperparameters of each config."""
    values: dict[str, Any] = {}

    def admit(point: Point) -> None:
        run.record_config(point)
        values[point.id] = point.config.model_dump(mode="json")

    def admit_new(point: Point) -> None:
        admit(point)
        learn()

    for entrant in list(study.policy.score_table.entrants.values()):
        admit(_recorded_point(space, entrant, run))
    growing = GrowingStudy(study.policy, study.journal, proposals, admit_new)
    growing.begin(host=socket.gethostname(), pid=os.getpid())
    growing.add_proposals()
    configs = "as many configs as the budget allows"
    if proposals.count is not None:
        configs = plural(proposals.count, "config")
    folds = plural(space.settings.folds, "fold")
    say(f"{run.address}: {configs} x {folds}, scheduler {space.settings.scheduler.name}")
    return growing, values


def _drive(
    space: Space,
    options: LaunchOptions,
    run: Run,
    study: GrowingStudy,
    values: Mapping[str, Mapping[str, Any]],
    listener: Listener,
    shipment: Shipment | None,
) -> Outcome:
    """Train what remains on Ray."""
    kind = kind_of(space)
    if shipment is not None and options.address is None:  # on a cluster, the nodes fetch them
        kind.fetch(space)
    with options.show(run) as notice:
        outcome = run_study(
            study,
            values,
            _settings(space, run),
            _target(space, options),
            Listeners(listener, notice),
            shipment,
            partial(kind.footprint, space),
        )
        study.journal.append("end", reason=outcome.reason)  # before the view closes, to be in its last frame
    return outcome


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
    if not isinstance(action, Finished):
        return None
    over = Outcome(action.reason, budget_spent=policy.score_table.exhausted)
    say(f"nothing left to run{' within the budget' if over.budget_spent else ''}, so Ray is not started")
    return over


def _folds(space: Space, run: Run, data: Labelled) -> Folds:
    """The folds of the run, made before its first trial and the same for every config."""
    if (run.folder / FOLDS).exists():
        return run.folds(data.hash)
    return folds_of(data, space.settings.folds, space.settings.fold_seed)


def _shipment(space: Space, run: Run, data: Labelled, folds: Folds, weights: Mapping[str, SharedFile]) -> Shipment:
    """The data with the folds of the run, which are written if they are new."""
    if not (run.folder / FOLDS).exists():
        save_folds(folds, run.folder / FOLDS)
    return Shipment(
        folds,
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
