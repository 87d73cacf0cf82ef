"""What stands between a cluster and a study: which trial carries which job, and whether the run is to end.

It knows no Ray: the adapter asks it for jobs and shows it results, and so could anything else that runs trials.
"""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.engine.failure_limits import Failure, FailureLimits
from search.engine.listeners import Listeners, Outcome
from search.messages import Finished, Job, Report, Stop
from search.runs.run_folder import STOP_FILE
from search.runs.study import Study
from trainable.errors import UserError
from trainable.machine.allotment import Share
from trainable.storage.atomic_files import write_text


@dataclass(frozen=True)
class EngineSettings:
    """How jobs become trials, and how much trouble is taken over a failing one."""

    folder: Path
    job: Mapping[str, Any]
    retries: int = 3
    hang_seconds: float = 600.0
    hang_factor: float = 20.0
    wall: float | None = None
    trials: int | None = None


OUT_OF_MEMORY = "out_of_memory"
NO_MEMORY = "its machine ran out of memory"


def fold_folder(folder: Path, job: Job) -> Path:
    return folder / "configs" / job.config / f"fold_{job.fold}"


class JobFeed:
    """Between Tune and the study: which trial carries which job, and whether the run is to end.

    ``shares`` says where fold trials may run; it may be another at every moment, for machines come and go.
    """

    def __init__(
        self,
        study: Study,
        values: Mapping[str, Mapping[str, Any]],
        settings: EngineSettings,
        shares: Callable[[], Sequence[Share]],
        listeners: Listeners,
    ) -> None:
        self.study, self.values, self.settings, self.shares = study, values, settings, shares
        self.on_event, self.notify = listeners.on_event, listeners.notify
        self.jobs: dict[str, Job] = {}
        self.places: dict[str, Share] = {}  # of the trials in ``jobs``
        self.again: list[Job] = []  # died; each is to be tried once more
        self.crowded: list[Job] = []  # ran out of memory beside others; each waits to be tried alone
        self.alone: str | None = None
        self.failure_limits = FailureLimits(settings.retries)
        self.began = time.monotonic()
        self.outcome = Outcome("")
        self.ending: str | None = None
        self.broken: BaseException | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles whatever it is given, to restore it some day; we never do, and a journal cannot be pickled."""
        return (str, ())

    def next(self, trial: str) -> dict[str, Any] | str | None:
        """The config of a new trial; None where there is none for now; "FINISHED" where there never will be."""
        config: dict[str, Any] | str | None = None
        with self._told():
            config = self._next(trial)
        return "FINISHED" if self.broken is not None else config

    def _next(self, trial: str) -> dict[str, Any] | str | None:
        self._look_for_an_end()
        if self.ending is not None:
            for job in self.crowded + self.again:
                self.study.lost(job, self.ending)
            self.crowded, self.again = [], []
            return None if self.jobs else "FINISHED"
        share = self._free_share()
        if share is None:
            return None
        if self.crowded or self.alone in self.jobs:
            # Whoever is to be alone waits for the others to end, and nobody new is let in meanwhile.
            return None if self.jobs else self._hand_out(trial, self.crowded.pop(0), share, alone=True)
        if self.again:
            return self._hand_out(trial, self.again.pop(0), share)
        if self._trials_spent:
            return None
        said = self.study.next()
        if isinstance(said, Finished):
            self.outcome.reason = said.reason
            self.outcome.budget_spent = self.study.policy.score_table.exhausted
            return "FINISHED"
        if not isinstance(said, Job):
            return None
        return self._hand_out(trial, said, share)

    def _free_share(self) -> Share | None:
        """Where the next job goes: to the first kind of machine that has room."""
        taken = Counter(self.places[trial].kind for trial in self.jobs)
        return next((share for share in self.shares() if taken[share.kind] < share.slots), None)

    @property
    def has_more_jobs(self) -> bool:
        """Whether another job could be handed out if there were room for it."""
        return self.ending is None and bool(self.again or self.study.policy.choose() is not None)

    def _hand_out(self, trial: str, job: Job, share: Share, alone: bool = False) -> dict[str, Any]:
        if alone:  # on whole GPUs: Ray waits until the actors of others have left
            share = replace(share, gpus=math.ceil(share.gpus), memory=1.0)
        self.jobs[trial], self.places[trial] = job, share
        self.alone = trial if alone else None
        self.on_event("job", {"config": job.config, "fold": job.fold, "until": job.until})
        return {
            **self.settings.job,
            "cpus": share.cpus,
            "gpus": share.gpus,
            "kind": share.kind,
            "avoid": list(share.avoid),
            "threads": max(1, int(share.cpus)),
            "memory": share.memory,
            "alone": alone,
            "values": dict(self.values[job.config]),
            "run": self.settings.folder.name,
            "config_id": job.config,
            "fold": job.fold,
            "until": job.until,
            "folder": str(fold_folder(self.settings.folder, job).absolute()),
            "journal": str(self.study.journal.path.absolute()),
            "hang_seconds": self.settings.hang_seconds,
            "hang_factor": self.settings.hang_factor,
        }

    def result(self, trial: str, result: Mapping[str, Any]) -> bool:
        """Take a result; true where the trial is to go on."""
        job = self.jobs.get(trial)
        if job is None:
            return False
        with self._told():
            if "storage" in result:
                # Every fold would end like this: better that the run waits for somebody to mend it.
                raise UserError(f"{result['storage']}; mend it and launch again, nothing that was reported is lost")
            if result.get("failed") == OUT_OF_MEMORY:
                self._ran_out(trial, job, str(result["message"]), beside=self.places[trial].crowded)
                return False
            if "failed" in result:
                self._failed(trial, job, str(result["failed"]), str(result["message"]))
                return False
            if "ended" in result:
                self._give_back(trial, "ended early")
                return False
            step, score, seconds = int(result["step"]), float(result["score"]), float(result["seconds"])
            report = Report(job.config, job.fold, step, score, seconds, self.places[trial].gpus or 1.0)
            self.failure_limits.reported((job.config, job.fold))
            verdict = self.study.report(report)
            stopped = verdict.reason if isinstance(verdict, Stop) else None
            self.on_event("report", {**report.record(), "stop": stopped})
            if stopped is not None:
                del self.jobs[trial]
                return False
            self._look_for_an_end()
            if self.ending is None:
                return True
            self._give_back(trial, self.ending)
        return False

    def worker_failed(self, trial: str, message: str, death: Failure) -> None:
        """The process of a trial is gone: it is tried again from its checkpoint, unless that was tried often enough."""
        job = self.jobs.get(trial)
        if job is None:
            return
        with self._told():
            last = message.splitlines()[-1] if message else "the worker died"
            if death is Failure.WRONG_NODE:
                self.on_event("lost", {"config": job.config, "fold": job.fold, "fault": last})
                self._again(trial)
                return
            if death is Failure.OUT_OF_MEMORY:  # of the machine, not of a GPU
                self._ran_out(trial, job, f"{message}\n{NO_MEMORY}", beside=self.places[trial].slots > 1)
                return
            if not self.failure_limits.allows_retry((job.config, job.fold), death, last):
                self._failed(trial, job, "crash", message)
                return
            fault = "its machine left the cluster" if death is Failure.NODE_LOST else last
            self.study.fault(job, fault)
            self.on_event("fault", {"config": job.config, "fold": job.fold, "fault": fault})
            self._again(trial)

    def requeue_stranded(self, trial: str) -> bool:
        """Whether a trial waits for machines of which none may be left; its job is then for others.

        They are those of its kind, without those that were left out when it was handed out.
        """
        shares = {share.kind: share for share in self.shares()}
        if trial not in self.jobs or not shares:
            return False
        place = self.places[trial]
        if place.kind in shares and set(place.avoid) <= set(shares[place.kind].avoid):
            return False
        self._again(trial)
        return True

    def over(self, trial: str) -> None:
        """A trial is gone without a verdict."""
        if trial in self.jobs:
            with self._told():
                self._give_back(trial, "the trial ended")

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """The first Ctrl-C ends the run in order, the second at once."""

        def note(number: int, frame: Any) -> None:
            if self.ending is not None:
                raise KeyboardInterrupt
            self.ending = "interrupted"
            self.outcome = Outcome("interrupted", interrupted=True)
            self.notify("stopping after the reports that are under way; once more to stop at once")

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def raise_if_broken(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _again(self, trial: str) -> None:
        """Its job goes to the next trial; one that was to be alone stays so."""
        (self.crowded if trial == self.alone else self.again).append(self.jobs.pop(trial))

    def _failed(self, trial: str, job: Job, reason: str, message: str) -> None:
        """A fold that cannot be trained: NaN at the horizon is how policies hear of it."""
        curve = self.study.policy.score_table.seconds(job.config, job.fold)
        horizon = self.study.policy.score_table.entrants[job.config].horizon
        write_text(fold_folder(self.settings.folder, job) / "error.txt", f"{reason}: {message}\n")
        self.study.fault(job, f"{reason}: {message.splitlines()[-1] if message else ''}")
        self.study.report(Report(job.config, job.fold, horizon, math.nan, curve))
        self.on_event("failed", {"config": job.config, "fold": job.fold, "fault": reason})
        del self.jobs[trial]

    def _ran_out(self, trial: str, job: Job, message: str, beside: bool) -> None:
        """It may be others who left too little memory: then it does not count yet, and the job stays out meanwhile."""
        if not beside or trial == self.alone:
            self._failed(trial, job, OUT_OF_MEMORY, message)
            return
        fault = f"{message.splitlines()[-1]}, beside others: it is tried again alone"
        self.study.fault(job, fault)
        self.on_event("fault", {"config": job.config, "fold": job.fold, "fault": fault})
        self.crowded.append(self.jobs.pop(trial))

    def _give_back(self, trial: str, why: str) -> None:
        job = self.jobs.pop(trial)
        self.study.lost(job, why)
        self.on_event("lost", {"config": job.config, "fold": job.fold, "fault": why})

    @property
    def _trials_spent(self) -> bool:
        trials = self.settings.trials
        return trials is not None and self.study.policy.score_table.begun >= trials

    def _look_for_an_end(self) -> None:
        if self.ending is not None:
            return
        wall = self.settings.wall
        if (self.settings.folder / STOP_FILE).exists():
            self.ending, self.outcome = "stopped", Outcome("stopped by request", interrupted=True)
        elif wall is not None and time.monotonic() - self.began > wall:
            reason = f"the wall clock budget of {wall:.0f} s is spent"
            self.ending, self.outcome = "budget", Outcome(reason, budget_spent=True)
        elif self._trials_spent and not (self.jobs or self.crowded or self.again):
            trials = self.settings.trials or 0
            reason, more = f"the budget of {trials} fold trials is spent", f"budget.trials={2 * trials}"
            self.ending, self.outcome = "budget", Outcome(reason, budget_spent=True, more=more)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """An error in here (a full disk, say) must end the run and reach the user, not vanish inside Tune."""
        try:
            yield
        except (UserError, OSError) as error:
            self.broken = self.broken or error
            self.ending = self.ending or "broken"
            self.jobs.clear()
