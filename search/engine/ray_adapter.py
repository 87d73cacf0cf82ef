"""The Ray adapter: one lazily fed Ray Tune run whose trials are a study's jobs. It carries words, it decides nothing.

Tune asks its searcher for a trial when it has room; the searcher asks the study for a job. Tune shows each result to
its scheduler; the scheduler shows it to the study. Tune keeps no state that matters: its experiment folder is thrown
away, the journal and the fold folders are all that a resumed run reads.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

# Tune reads these once, when it is imported.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")  # the state of all trials, that nobody will read

from ray import cloudpickle, tune
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RuntimeEnvSetupError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cluster.capacity.capacity import Capacity
from cluster.capacity.nodes import Nodes
from cluster.capacity.packing import KIND, NODE
from cluster.connection.ray_workarounds import credentials_kept
from cluster.deployment.prometheus import Metrics
from cluster.target import Measure, opened
from search.engine.failure_limits import Failure
from search.engine.fold_log import FoldLog
from search.engine.job_feed import EngineSettings, JobFeed
from search.engine.listeners import Listeners, Outcome, broadcast
from search.engine.monitor import Monitor
from search.runs.study import Study
from trainable.data.shipment import Shipment
from trainable.errors import WrongMachine
from trainable.machine.allotment import Place
from trainable.printing import plural, say
from trainable.ray_trial import FoldTrial, packed, unpacked

# What Ray says where it was the machine, or where an actor had none yet.
BLAMELESS = ("node has died", "node was terminated", "node died", "The actor never ran")

ONLY_TOLD = {
    "Failed to set up runtime environment": RuntimeEnvSetupError,
    "due to the node running low on memory": OutOfMemoryError,
}


def run_study(
    study: Study,
    values: Mapping[str, Mapping[str, Any]],
    settings: EngineSettings,
    place: Place,
    listeners: Listeners,
    shipment: Shipment | None = None,
    measure: Measure | None = None,
) -> Outcome:
    """Run a study to its end where it is to run; real fold trials need ``shipment``, scripted ones have none."""
    with opened(place, shipment, measure) as (capacity, shipment):
        return drive(study, values, settings, capacity, listeners, shipment)


def drive(
    study: Study,
    values: Mapping[str, Mapping[str, Any]],
    settings: EngineSettings,
    capacity: Capacity,
    listeners: Listeners,
    shipment: Shipment | None = None,
) -> Outcome:
    """Run a study to its end on the Ray cluster this process is connected to."""
    for share in capacity():
        on = f" on {share.kind}" if share.kind else ""
        trials = plural(share.slots, "fold trial")
        say(f"{trials} at once{on}, each with {share.cpus:g} cores and {share.gpus:g} GPUs")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the journal and the fold folders tell of failures
    monitor = Monitor(study.policy.score_table, Metrics(settings.folder.name))
    all_listeners = replace(listeners, on_event=broadcast(FoldLog(settings.folder), monitor, listeners.on_event))
    feed = JobFeed(study, values, settings, capacity, all_listeners)
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch, feed.interruptible():
        trainable = tune.with_resources(
            FoldTrial if shipment is None else tune.with_parameters(FoldTrial, shipment=shipment),
            lambda job: placement_of(unpacked(job)),
        )
        trainable.__qualname__ = f"FoldTrial of {settings.folder.name}"  # what the dashboard calls the actors
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=JobSearcher(feed, capacity),
                scheduler=VerdictScheduler(feed, capacity.nodes),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),  # who is tried again, the feed decides
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # there is nothing in it
                callbacks=[FailureCallback(feed, capacity.nodes), MonitorCallback(monitor)],
            ),
        )
        with credentials_kept():
            tuner.fit()
    feed.raise_if_broken()
    return feed.outcome


def placement_of(job: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray keeps for a job."""
    kind = {f"{KIND}{job['kind']}": 0.001} if job["kind"] else {}
    avoid = {NODE: f"!in({','.join(job['avoid'])})"} if job["avoid"] else {}
    return tune.PlacementGroupFactory([{"CPU": job["cpus"], "GPU": job["gpus"], **kind}], bundle_label_selector=[avoid])


class JobSearcher(Searcher):
    """Tune's searcher: gives it a job whenever it asks for a trial."""

    def __init__(self, feed: JobFeed, capacity: Capacity) -> None:
        super().__init__()
        self.feed, self.capacity = feed, capacity

    def suggest(self, trial_id: str) -> Any:
        said = self.feed.next(trial_id)
        self.capacity.hint(len(self.feed.jobs), lambda: self.feed.has_more_jobs)
        return packed(said) if isinstance(said, dict) else said

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The scheduler has heard of it."""

    def save(self, checkpoint_path: str) -> None:
        """The journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """The journal is the state."""


class VerdictScheduler(FIFOScheduler):
    """Tune's scheduler: shows each result to the study and does what it says."""

    def __init__(self, feed: JobFeed, nodes: Nodes) -> None:
        super().__init__()
        self.feed, self.nodes = feed, nodes

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """A free actor takes the job that was handed out for it: the oldest would lose the actor it is starting."""
        waiting = {
            trial.trial_id: trial for trial in tune_controller.get_live_trials() if trial.status == Trial.PENDING
        }
        for name in [name for name in waiting if self.feed.requeue_stranded(name)]:
            tune_controller.request_stop_trial(waiting[name])
        return next((waiting[name] for name in reversed(self.feed.jobs) if name in waiting), None)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Any) -> str:
        told = unpacked(result)
        if "storage" in told and not self.nodes.knows(told["node"]):
            self.feed.worker_failed(trial.trial_id, told["storage"], Failure.WRONG_NODE)
            return str(TrialScheduler.STOP)
        if "step" in told:
            self.nodes.works(told["node"])
        go_on = self.feed.result(trial.trial_id, told)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Any) -> None:
        self.feed.over(trial.trial_id)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.feed.over(trial.trial_id)


class FailureCallback(tune.Callback):
    """Tune's callback: tells why the process of a trial is gone, which its scheduler does not hear of."""

    def __init__(self, feed: JobFeed, nodes: Nodes) -> None:
        self.feed, self.nodes = feed, nodes

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        error = error_of(trial)
        said, death = message_of(error), failure_of(error)
        if death is Failure.NOT_STARTED and self.nodes.blames(self.nodes.named_by(error), said.rpartition("\n")[2]):
            death = Failure.WRONG_NODE
        self.feed.worker_failed(trial.trial_id, said, death)


def error_of(trial: Any) -> BaseException | None:
    """What this very process wrote down a moment ago: Tune keeps errors of actors and tasks, of others their words."""
    if trial.pickled_error_file:
        error: BaseException = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        return error
    words = Path(trial.error_file).read_text() if trial.error_file else ""
    return next((kind(words) for told, kind in ONLY_TOLD.items() if told in words), None)


def failure_of(error: BaseException | None) -> Failure:
    """An actor may be out of reach for many reasons, none of which is its own."""
    if isinstance(error, ActorUnavailableError) or getattr(error, "preempted", False):
        return Failure.NODE_LOST
    if isinstance(error, OutOfMemoryError):
        return Failure.OUT_OF_MEMORY
    if isinstance(error, (RuntimeEnvSetupError, WrongMachine)):
        return Failure.NOT_STARTED
    if isinstance(error, ActorDiedError):
        if error._actor_init_failed:
            return Failure.NOT_STARTED
        if any(words in str(error) for words in BLAMELESS):
            return Failure.NODE_LOST
    return Failure.CRASHED


def message_of(error: BaseException | None) -> str:
    """The error's own words, without Ray's list of what else it might have been."""
    return str(error or "").strip().partition(" Some common causes include")[0]


class MonitorCallback(tune.Callback):
    """Tune's callback: lets the monitor read the board now and then, also while no trial has anything to say."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        self.monitor.pulse()
