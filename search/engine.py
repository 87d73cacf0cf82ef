"""The Ray adapter: one lazily fed Ray Tune run whose trials are a study's jobs. It carries words, it decides nothing.

Tune asks its searcher for a trial when it has room; the searcher asks the study for a job. Tune shows each result to
its scheduler; the scheduler shows it to the study. Tune keeps no state that matters: its experiment folder is thrown
away, the journal and the fold folders are all that a resumed run reads.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

# Tune reads these once, when it is imported.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")  # the state of all trials, that nobody will read

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cluster.gaps import credentials_kept
from cluster.local import local_ray
from cluster.metrics import Metrics
from search.feed import Audience, Feed, Outcome, Settings, to_each
from search.fold_log import FoldLog
from search.monitor import Monitor
from search.study import Study
from trainable.footprint import Footprint
from trainable.printing import say
from trainable.ray_trial import FoldTrial, packed, unpacked


def run_here(
    study: Study,
    values: Mapping[str, Mapping[str, Any]],
    settings: Settings,
    cpu: float | str,
    gpu: float | str,
    dashboard: bool,
    audience: Audience,
    measure: Callable[[], Footprint] | None = None,
) -> Outcome:
    """Run a study to its end on a Ray of this machine."""
    with local_ray(cpu, gpu, dashboard, measure) as share:
        say(f"{share.slots} fold trials at once, each with {share.cpus:g} cores and {share.gpus:g} GPUs")
        shared = replace(settings, cpus=share.cpus, gpus=share.gpus, slots=share.slots, memory=share.memory)
        return run_study(study, values, shared, audience)


def run_study(study: Study, values: Mapping[str, Mapping[str, Any]], settings: Settings, audience: Audience) -> Outcome:
    """Run a study to its end on the Ray cluster this process is connected to."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the journal and the fold folders tell of failures
    monitor = Monitor(study.policy.board, Metrics(settings.folder.name))
    everybody = replace(audience, tell=to_each(FoldLog(settings.folder), monitor, audience.tell))
    feed = Feed(study, values, settings, everybody)
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch, feed.interruptible():
        trainable = tune.with_resources(FoldTrial, lambda job: needs(settings, unpacked(job)))
        trainable.__qualname__ = f"FoldTrial of {settings.folder.name}"  # what the dashboard calls the actors
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=Jobs(feed), scheduler=Verdicts(feed), num_samples=-1, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=settings.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # there is nothing in it
                callbacks=[Faults(feed), Pulse(monitor)],
            ),
        )
        with credentials_kept():
            tuner.fit()
    feed.raise_if_broken()
    return feed.outcome


def needs(settings: Settings, job: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray keeps for a job. One that is alone gets whole GPUs: Ray waits until the actors of others have left."""
    gpus = math.ceil(settings.gpus) if job.get("alone") else settings.gpus
    return tune.PlacementGroupFactory([{"CPU": settings.cpus, "GPU": gpus}])


class Jobs(Searcher):
    """Tune's searcher: gives it a job whenever it asks for a trial."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    def suggest(self, trial_id: str) -> Any:
        said = self.feed.next(trial_id)
        return packed(said) if isinstance(said, dict) else said

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The scheduler has heard of it."""

    def save(self, checkpoint_path: str) -> None:
        """The journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """The journal is the state."""


class Verdicts(FIFOScheduler):
    """Tune's scheduler: shows each result to the study and does what it says."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """A free actor takes the job that was handed out for it: the oldest would lose the actor it is starting."""
        waiting = {
            trial.trial_id: trial for trial in tune_controller.get_live_trials() if trial.status == Trial.PENDING
        }
        return next((waiting[name] for name in reversed(self.feed.jobs) if name in waiting), None)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Any) -> str:
        go_on = self.feed.result(trial.trial_id, unpacked(result))
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Any) -> None:
        self.feed.over(trial.trial_id)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.feed.over(trial.trial_id)


class Faults(tune.Callback):
    """Tune's callback: tells trials that are tried again from those given up, which its scheduler does not."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        lines = _message(trial).splitlines()
        last = lines[-1] if lines else "the worker died"
        self.feed.recovers(trial.trial_id, last.partition(" Some common causes include")[0])

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.feed.failed_for_good(trial.trial_id, _message(trial))


class Pulse(tune.Callback):
    """Tune's callback: lets the monitor read the board now and then, also while no trial has anything to say."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        self.monitor.pulse()


def _message(trial: Any) -> str:
    path = trial.error_file
    try:
        return Path(path).read_text().strip() if path else ""
    except OSError:
        return ""
