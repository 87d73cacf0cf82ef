"""The Ray adapter: one Ray Tune run whose trials are the jobs of a study. It translates and decides nothing.

Tune asks its searcher for a trial when resources are free, and the searcher gets a job from the feed. Tune passes each
result to its scheduler, and the scheduler passes it to the feed. Tune's experiment folder is temporary: a resumed run
reads only the journal and the fold folders.
"""

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
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")  # a snapshot of all trials that is never read

from ray import cloudpickle, tune
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RuntimeEnvSetupError
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cluster.capacity.capacity import Capacity
from cluster.capacity.nodes import NodePool
from cluster.capacity.packing import GPU_TYPE, NODE_ID
from cluster.connection.ray_workarounds import without_aws_credentials, workers_short_of_memory_fail_alone
from cluster.deployment.prometheus import Metrics
from cluster.target import Measure, open_target
from search.engine.failure_limits import Failure
from search.engine.fold_log import FoldLog
from search.engine.job_feed import JobFeed
from search.engine.listeners import Listeners, Outcome, broadcast
from search.engine.monitor import Monitor
from search.engine.settings import EngineSettings
from search.runs.study import Study
from trainable.data.shipment import Shipment
from trainable.errors import WrongMachine
from trainable.machine.allotment import Target
from trainable.printing import plural, say
from trainable.ray_trial import FoldTrial, packed, unpacked

# Ray's messages when a node was lost, or when an actor was never placed on one.
NODE_LOST_MESSAGES = ("node has died", "node was terminated", "node died", "The actor never ran")

# Errors of which Tune keeps only the message.
ERRORS_BY_MESSAGE = {
    "Failed to set up runtime environment": RuntimeEnvSetupError,
    "due to the node running low on memory": OutOfMemoryError,
}


def run_study(
    study: Study,
    values: Mapping[str, Mapping[str, Any]],
    settings: EngineSettings,
    target: Target,
    listeners: Listeners,
    shipment: Shipment | None = None,
    measure: Measure | None = None,
) -> Outcome:
    """Run a study to its end on ``target``; real fold trials need a ``shipment`` of data, scripted ones have none."""
    with open_target(target, shipment, measure) as (capacity, shipment):
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
    allotments = capacity()
    for allotment in allotments:
        kind = f" on {allotment.kind}" if allotment.kind else ""
        cores = "1 core" if allotment.cpus == 1 else f"{allotment.cpus:g} cores"
        gpus = "1 GPU" if allotment.gpus == 1 else f"{allotment.gpus:g} GPUs"
        say(f"{plural(allotment.slots, 'fold trial')} at once{kind}, each with {cores} and {gpus}")
    study.trains_on("GPU" if any(allotment.gpus for allotment in allotments) else "CPU")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are in the journal and the fold folders
    monitor = Monitor(study.policy.score_table, Metrics(settings.folder.name))
    all_listeners = replace(listeners, on_event=broadcast(FoldLog(settings.folder), monitor, listeners.on_event))
    feed = JobFeed(study, values, settings, capacity, all_listeners)
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch, feed.ending.interruptible():
        trainable = tune.with_resources(
            FoldTrial if shipment is None else tune.with_parameters(FoldTrial, shipment=shipment),
            lambda job: placement_of(unpacked(job)),
        )
        trainable.__qualname__ = f"FoldTrial of {settings.folder.name}"  # the name of the actors in the dashboard
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
                failure_config=tune.FailureConfig(max_failures=0),  # the feed decides what is retried
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the fold folder is the checkpoint
                callbacks=[FailureCallback(feed, capacity.nodes), MonitorCallback(monitor), Quiet()],
            ),
        )
        with without_aws_credentials(), workers_short_of_memory_fail_alone():
            tuner.fit()
    feed.ending.raise_error()
    return feed.ending.outcome


def placement_of(job: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """The resources that Ray reserves for a job."""
    kind = {f"{GPU_TYPE}{job['kind']}": 0.001} if job["kind"] else {}
    avoid = {NODE_ID: f"!in({','.join(job['avoid'])})"} if job["avoid"] else {}
    return tune.PlacementGroupFactory([{"CPU": job["cpus"], "GPU": job["gpus"], **kind}], bundle_label_selector=[avoid])


class JobSearcher(Searcher):
    """Tune's searcher: suggests the next job as a trial."""

    def __init__(self, feed: JobFeed, capacity: Capacity) -> None:
        super().__init__()
        self.feed, self.capacity = feed, capacity

    def suggest(self, trial_id: str) -> Any:
        job = self.feed.next(trial_id)
        self.capacity.request_machines(len(self.feed.jobs), lambda: self.feed.has_more_jobs)
        return packed(job) if isinstance(job, dict) else job

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The scheduler handles it."""

    def save(self, checkpoint_path: str) -> None:
        """The journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """The journal is the state."""


class VerdictScheduler(FIFOScheduler):
    """Tune's scheduler: passes each result to the study and acts on the verdict."""

    def __init__(self, feed: JobFeed, nodes: NodePool) -> None:
        super().__init__()
        self.feed, self.nodes = feed, nodes

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The newest pending trial gets the free actor it was handed out for: older ones are starting their own."""
        trials = tune_controller.get_live_trials()
        pending = {trial.trial_id: trial for trial in trials if trial.status == Trial.PENDING}
        for trial_id in [trial_id for trial_id in pending if self.feed.requeue_stranded(trial_id)]:
            _stop_pending(tune_controller, pending.pop(trial_id))
        return next((pending[trial_id] for trial_id in reversed(self.feed.jobs) if trial_id in pending), None)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Any) -> str:
        values = unpacked(result)
        if "storage" in values and self._of_one_node(values):
            self.feed.worker_failed(trial.trial_id, values["storage"], Failure.WRONG_NODE)
            return str(TrialScheduler.STOP)
        if "step" in values or "pretraining" in values:
            self.nodes.worker_reported(values["node"])
        continues = self.feed.result(trial.trial_id, values)
        return str(TrialScheduler.CONTINUE if continues else TrialScheduler.STOP)

    def _of_one_node(self, values: Mapping[str, Any]) -> bool:
        """Whether a problem of storage is that of a node, and others can train."""
        if values.get("local"):
            return self.nodes.write_failed(values["node"], values["storage"])
        return not self.nodes.trusts(values["node"])

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Any) -> None:
        self.feed.trial_ended(trial.trial_id)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.feed.trial_ended(trial.trial_id)


def _stop_pending(tune_controller: Any, trial: Any) -> None:
    """Stop a trial that has no actor yet."""
    trial.init_local_path()  # without which Tune makes no results of it
    tune_controller.stop_trial(trial)
    # Tune still expects the trial to start, and keeps idle actors for it whose resources others may be waiting for.
    controller = tune_controller._tune_controller
    if trial in controller._staged_trials:
        controller._unstage_trial_with_resources(trial)


class FailureCallback(tune.Callback):
    """Tune's callback: reports why the process of a trial failed, which Tune does not pass to its scheduler."""

    def __init__(self, feed: JobFeed, nodes: NodePool) -> None:
        self.feed, self.nodes = feed, nodes

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        error = error_of(trial)
        message, failure = message_of(error), failure_of(error)
        last_line = message.rpartition("\n")[2]
        if failure is Failure.NOT_STARTED and self.nodes.worker_failed(self.nodes.node_of(error), last_line):
            failure = Failure.WRONG_NODE
        self.feed.worker_failed(trial.trial_id, message, failure)


def error_of(trial: Any) -> BaseException | None:
    """The error of a trial from the files that this process just wrote: Tune pickles the errors of actors and tasks and
    keeps only the message of others.
    """
    if trial.pickled_error_file:
        error: BaseException = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        return error
    text = Path(trial.error_file).read_text() if trial.error_file else ""
    return next((error_type(text) for message, error_type in ERRORS_BY_MESSAGE.items() if message in text), None)


def failure_of(error: BaseException | None) -> Failure:
    """An unavailable actor counts as a lost node: whatever made it unreachable, the fold trial did not."""
    if isinstance(error, ActorUnavailableError) or getattr(error, "preempted", False):
        return Failure.NODE_LOST
    if isinstance(error, OutOfMemoryError):
        return Failure.OUT_OF_MEMORY
    if isinstance(error, (RuntimeEnvSetupError, WrongMachine)):
        return Failure.NOT_STARTED
    if isinstance(error, ActorDiedError):
        if error._actor_init_failed:
            return Failure.NOT_STARTED
        if any(message in str(error) for message in NODE_LOST_MESSAGES):
            return Failure.NODE_LOST
    return Failure.CRASHED


def message_of(error: BaseException | None) -> str:
    """The error's message without Ray's list of common causes."""
    return str(error or "").strip().partition(" Some common causes include")[0]


class Quiet(TrialProgressCallback):
    """Tune's own messages about trials, of which it prints some at any verbosity."""

    def on_trial_result(self, *told: Any, **more: Any) -> None:
        """Say nothing."""

    on_trial_error = on_trial_complete = on_trial_result


class MonitorCallback(tune.Callback):
    """Tune's callback: updates the metrics, also while no trial reports."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        self.monitor.update()
