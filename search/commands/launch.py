"""Launching a space: open or resume its run, and run the remaining jobs on Ray."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from search.commands.launch_checks import Checked, LaunchOptions, check_launch
from search.commands.launch_record import record_launch
from search.commands.run_end import failure_reason, failure_recorded, removed_unless_begun, tell_end
from search.engine.listeners import Listener, Listeners, Outcome, broadcast
from search.engine.ray_adapter import run_study
from search.engine.settings import EngineSettings
from search.messages import Entrant, Finished
from search.planning.files import unlabelled_splits
from search.planning.plan_output import keep_first
from search.planning.trial_kinds import kind_of
from search.policies.contract import Policy
from search.policies.registry import policy_of
from search.runs.fold_models import Decisions, FoldModels, decisions, describe_jobs
from search.runs.growth import Growth
from search.runs.journal import Journal
from search.runs.recovery import import_reports, recover
from search.runs.run_folder import DATABASE, FOLDS, Run
from search.runs.study import Study, replay_lines
from search.samplers.finishing_study import FinishingStudy
from search.samplers.growing_study import GrowingStudy
from search.samplers.proposals import ListProposals, Proposals, RandomProposals
from search.tracking.sync import track_run
from search.tracking.tracker import make_trackers
from spaces.schema.samplers import GridSampler, OptunaSampler
from spaces.schema.settings import Budget
from spaces.space import Point, Space
from trainable.data.folds import Folds, folds_of, save_folds
from trainable.data.labelled import Labelled, label_facts
from trainable.data.shipment import Shipment
from trainable.errors import UserError
from trainable.exit_codes import WRONG
from trainable.machine.allotment import Target
from trainable.printing import plural, say
from trainable.storage.shared_file import SharedFile
from trainable.storage.urls import is_url

Launched = tuple[Run, Policy, Outcome]
Begun = list[tuple[Run, Policy]]  # whose checks have passed, so that its hook is called; at most one


def launch_space(space: Space, options: LaunchOptions) -> Launched:
    """Run a space to completion, resuming its run if there is one; its hook is called once everything is saved."""
    begun: Begun = []
    try:
        run, policy, outcome = _launch_where_it_is(space, options, begun)
    except Exception as error:
        for run, policy in begun:
            tell_end(space, run, policy, Outcome(failure_reason(error)), WRONG)
        raise
    tell_end(space, run, policy, outcome)
    return run, policy, outcome


def _launch_where_it_is(space: Space, options: LaunchOptions, begun: Begun) -> Launched:
    """Run a space in a folder or in an object store."""
    if not is_url(options.root):
        return _launch(space, options, Run(Path(options.root, space.settings.name)), begun)
    from search.run_storage.stored_run import acquire_run

    with acquire_run(options.root, space.settings.name, options.rebuild) as run:
        return _launch(space, options, run, begun)


def _launch(space: Space, options: LaunchOptions, run: Run, begun: Begun) -> Launched:
    trackers = make_trackers(space.settings.tracking, run.folder)
    checked = check_launch(space, options, run)
    space = checked.space
    if options.rebuild:
        say(f"{run.journal}: rebuilt from the fold folders with {plural(recover(run, space), 'report')}")
    with Journal(run.journal) as journal, removed_unless_begun(run):
        run.forget_stop()
        policy, lines = policy_of(space), run.lines()
        replay_lines(policy, lines)
        if unchecked := sum(not line.checked for line in lines):
            records = plural(unchecked, "record")
            say(f"{run.journal}: {records} of an older version without a checksum; new ones have it")
        if checked.growth.changes:
            _grow(Study(policy, journal), checked.growth, run, decisions(lines))
        if run.journal_may_lag and (ahead := import_reports(Study(policy, journal), run, space)):
            say(f"{run.address}: its fold folders were {plural(ahead, 'report')} ahead of its journal")
        shipment = _record(space, run, checked)
        if policy.earlier_rules:
            say(f"{run.address}: {policy.earlier_rules}")
        with (
            track_run(trackers, run.folder, policy.score_table.entrants, run.lines()) as track,
            _proposals(space, run, policy) as (proposals, learn),
        ):
            models = FoldModels(run, space, policy, decisions(lines).chosen)
            study, values = _begin(space, options, run, Study(policy, journal), proposals, learn, models)
            listener = broadcast(track, lambda event, facts: learn())
            begun.append((run, policy))
            with failure_recorded(study):
                outcome = _already_over(study, models)
                if outcome is None:
                    outcome = _drive(space, options, run, study, values, listener, shipment, models)
                else:
                    _end(study, models, outcome)
    return run, policy, outcome


def _record(space: Space, run: Run, checked: Checked) -> Shipment | None:
    """Write what describes the launch; what workers need of the data."""
    data = checked.data
    if data is None:
        record_launch(run, space, None)
    else:
        folds = _folds(space, run, data)
        record_launch(run, space, data.hash, label_facts(data), checked.contents, folds)
    keep_first(run.folder, checked.plan)
    return None if data is None else _shipment(space, run, data, folds, checked.weights)


def _begin(
    space: Space,
    options: LaunchOptions,
    run: Run,
    study: Study,
    proposals: Proposals,
    learn: Callable[[], None],
    models: FoldModels,
) -> tuple[GrowingStudy | FinishingStudy, dict[str, Any]]:
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
    if options.finish is not None:
        finishing = FinishingStudy(study.policy, study.journal, options.finish, models)
        finishing.begin(host=socket.gethostname(), pid=os.getpid())
        return finishing, values
    growing = GrowingStudy(study.policy, study.journal, proposals, admit_new)
    growing.completions = models.lost
    growing.begin(host=socket.gethostname(), pid=os.getpid())
    growing.add_proposals()
    _say_what_runs(run, space, proposals, models)
    return growing, values


def _drive(
    space: Space,
    options: LaunchOptions,
    run: Run,
    study: Study,
    values: Mapping[str, Mapping[str, Any]],
    listener: Listener,
    shipment: Shipment | None,
    models: FoldModels,
) -> Outcome:
    """Train what remains on Ray."""
    kind = kind_of(space)
    if shipment is not None and options.address is None:  # on a cluster, the nodes fetch them
        kind.fetch(space)
    with options.show(run) as notice:
        outcome = run_study(
            study,
            values,
            _settings(space, run, finish=options.finish is not None),
            _target(space, options),
            Listeners(listener, notice),
            shipment,
            partial(kind.footprint, space),
        )
        _end(study, models, outcome)  # before the view closes, to be in its last frame
    return outcome


def _end(study: Study, models: FoldModels, outcome: Outcome) -> None:
    """Remove the weights that the rule does not keep, and record the end."""
    open_still = outcome.interrupted or outcome.budget_spent or isinstance(study, FinishingStudy)
    models.drop(study.journal, not open_still)
    study.journal.append("end", reason=outcome.reason)


def _grow(study: Study, growth: Growth, run: Run, made: Decisions) -> None:
    study.grow(growth)
    say(f"{run.address}: the space has changed: {'; '.join(growth.changes)}")
    if growth.new_values:
        (run.folder / DATABASE).unlink(missing_ok=True)  # a study cannot take other values; it is written again
    if made.dropped and growth.configs:
        configs = plural(len(made.dropped), "config")
        say(f"the weights of {configs} were removed, so any of them that returns to the race starts again")


def _recorded_point(space: Space, entrant: Entrant, run: Run) -> Point:
    """Resolve a config of the journal and check its id, which is a hash of its parameters."""
    point = space.resolve({name: value for name, value in entrant.parameters.items() if name in space.parameters})
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


def _say_what_runs(run: Run, space: Space, proposals: Proposals, models: FoldModels) -> None:
    configs = "as many configs as the budget allows" if proposals.count is None else plural(proposals.count, "config")
    folds = plural(space.settings.folds, "fold")
    say(f"{run.address}: {configs} x {folds}, scheduler {space.settings.scheduler.name}")
    if lost := models.lost():
        trials = f"{plural(len(lost), 'fold trial')} ({describe_jobs(lost)})"
        say(f"lost: the models of {trials}, which are trained again at the end")


def _already_over(study: Study, models: FoldModels) -> Outcome | None:
    """The outcome of a run without remaining jobs, for which Ray need not start.

    It hands out no job, not even for a moment: the journal would not know, so a replay would lead to another state.
    """
    if isinstance(study, FinishingStudy):
        done = study.choose()
        return None if done is None else Outcome(done.reason)
    if not study.exhausted and study.policy.choose() is not None:
        return None
    action = study.policy.next()
    if not isinstance(action, Finished) or (not study.exhausted and models.lost()):
        return None
    over = Outcome(action.reason, budget_spent=study.exhausted)
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


def _settings(space: Space, run: Run, finish: bool = False) -> EngineSettings:
    settings = space.settings
    keep = settings.keep_probabilities and "store" not in run.job_settings  # to a store, only a fold's own files go
    job = {
        "metric": settings.metric.name,
        "trainable": settings.trainable,
        "keep_probabilities": keep,
        **run.job_settings,
    }
    budget = Budget() if finish else settings.budget  # a config that a person chose is not limited by it
    return EngineSettings(folder=run.folder, job=job, wall=budget.wall, trials=budget.trials)
