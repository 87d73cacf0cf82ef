"""Connects a cluster to a study: which trial carries which job, and which jobs are retried.

Knows nothing of Ray: the adapter asks it for jobs and hands it results, and any other backend could do the same.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from search.engine.ending import Ending
from search.engine.failure_limits import Failure, FailureLimits
from search.engine.listeners import Listeners
from search.engine.settings import EngineSettings, worker_job
from search.engine.stages import SharedStages
from search.messages import Finished, Job, Report, Stop
from search.runs.run_folder import fold_folder
from search.runs.study import Study
from trainable.errors import UserError
from trainable.machine.allotment import Allotment
from trainable.storage.atomic_files import write_text

OUT_OF_MEMORY = "out_of_memory"
NODE_OUT_OF_MEMORY = "its node ran out of memory"
NODE_LEFT = "its node left the cluster"


class JobFeed:
    """Hands the jobs of a study to trials and takes their results.

    ``allotments`` says where fold trials may run; its answer changes as nodes join and leave.
    """

    def __init__(
        self,
        study: Study,
        values: Mapping[str, Mapping[str, Any]],
        settings: EngineSettings,
        allotments: Callable[[], Sequence[Allotment]],
        listeners: Listeners,
    ) -> None:
        self.study, self.values, self.settings, self.allotments = study, values, settings, allotments
        self.on_event = listeners.on_event
        self.jobs: dict[str, Job] = {}  # by trial
        self.held: dict[str, Allotment] = {}  # the allotment of each trial in ``jobs``
        self.retries: list[Job] = []
        self.exclusive_retries: list[Job] = []  # ran out of memory on a shared device: retried while no other job runs
        self.exclusive_trial: str | None = None
        self.failure_limits = FailureLimits(settings.retries)
        self.stages = SharedStages(study, values)
        self.ending = Ending(settings, listeners.notify)

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles its searcher to restore it later, which we never do; a journal cannot be pickled."""
        return (str, ())

    def next(self, trial: str) -> dict[str, Any] | str | None:
        """The config of a new trial, None if there is none at the moment, or "FINISHED" if none will follow."""
        config: dict[str, Any] | str | None = None
        with self._errors_end_the_run():
            config = self._next(trial)
        return "FINISHED" if self.ending.error is not None else config

    def _next(self, trial: str) -> dict[str, Any] | str | None:
        self._check_for_end()
        if self.ending.cause is not None:
            for queue in (self.exclusive_retries, self.retries, self.stages.held_back):
                for job in queue:
                    self.study.lost(job, self.ending.cause)
                queue.clear()
            return None if self.jobs else "FINISHED"
        allotment = self._free_allotment()
        if allotment is None:
            return None
        if self.exclusive_retries or self.exclusive_trial in self.jobs:
            # An exclusive job waits until the running ones end, and no other job starts in the meantime.
            if self.jobs:
                return None
            return self._hand_out(trial, self.exclusive_retries.pop(0), allotment, exclusive=True)
        if (waiting := self._waiting_job()) is not None:
            return self._hand_out(trial, waiting, allotment)
        most_held = self.study.look_ahead(sum(each.slots for each in self.allotments()))
        while len(self.stages.held_back) < most_held and not self.ending.trials_spent(self.study.policy.score_table):
            answer = self.study.next()
            if isinstance(answer, Finished):
                self.ending.outcome.reason = answer.reason
                self.ending.outcome.budget_spent = self.study.exhausted
                return "FINISHED"
            if not isinstance(answer, Job):
                return None
            if not self.stages.must_wait(answer):
                return self._hand_out(trial, answer, allotment)
            self.stages.hold_back(answer)
        return None

    def _waiting_job(self) -> Job | None:
        """The first job that was held back or is to be retried and can start now."""
        for job in [job for job in self.retries if self.stages.must_wait(job)]:
            self.retries.remove(job)
            self.stages.hold_back(job)
        return self.retries.pop(0) if self.retries else self.stages.take_ready()

    def _free_allotment(self) -> Allotment | None:
        """The first allotment that has a free slot."""
        taken = Counter(self.held[trial].kind for trial in self.jobs)
        return next((each for each in self.allotments() if taken[each.kind] < each.slots), None)

    @property
    def has_more_jobs(self) -> bool:
        """Whether another job could be handed out if there were a free slot."""
        if self.ending.cause is not None:
            return False
        if any(not self.stages.must_wait(job) for job in self.retries + self.stages.held_back):
            return True
        if self.study.exhausted or self.ending.trials_spent(self.study.policy.score_table):
            return False
        job = self.study.peek()
        return self.study.wants_config if job is None else not self.stages.must_wait(job)

    def _hand_out(self, trial: str, job: Job, allotment: Allotment, exclusive: bool = False) -> dict[str, Any]:
        if exclusive:  # whole GPUs, so Ray waits until the actors of other jobs are gone
            allotment = replace(allotment, gpus=math.ceil(allotment.gpus), memory=1.0)
        self.jobs[trial], self.held[trial] = job, allotment
        self.exclusive_trial = trial if exclusive else None
        self.stages.started(trial, job)
        self.on_event("job", {"config": job.config, "fold": job.fold, "until": job.until})
        journal = self.study.journal.path
        return worker_job(self.settings, job, self.values[job.config], allotment, exclusive, journal)

    def result(self, trial: str, result: Mapping[str, Any]) -> bool:
        """Process a result and return whether the trial continues."""
        job = self.jobs.get(trial)
        if job is None:
            return False
        with self._errors_end_the_run():
            if "storage" in result:
                # Every fold would fail the same way, so the run ends until the storage is fixed.
                raise UserError(f"{result['storage']}; fix this and launch again: everything reported so far is kept")
            if "pretraining" in result:
                self.failure_limits.reported((job.config, job.fold))
                self.stages.progressed(trial, job, self._gpus(trial), result["pretraining"])
                return self._continues(trial)
            self.stages.ended(trial, job, self._gpus(trial))
            if result.get("failed") == OUT_OF_MEMORY:
                self._out_of_memory(trial, job, str(result["message"]), shared=self.held[trial].crowded)
                return False
            if "failed" in result:
                self._fail(trial, job, str(result["failed"]), str(result["message"]))
                return False
            if "ended" in result:
                self._give_back(trial, "ended early")
                return False
            step, score, seconds = int(result["step"]), float(result["score"]), float(result["seconds"])
            report = Report(job.config, job.fold, step, score, seconds, self._gpus(trial))
            self.failure_limits.reported((job.config, job.fold))
            verdict = self.study.report(report)
            reason = verdict.reason if isinstance(verdict, Stop) else None
            self.on_event("report", {**report.record(), "stop": reason})
            if reason is not None:
                del self.jobs[trial]
                return False
            if self._continues(trial):
                return True
        return False

    def _continues(self, trial: str) -> bool:
        """Whether a trial continues, which it does unless the run ends."""
        self._check_for_end()
        if self.ending.cause is not None:
            self._give_back(trial, self.ending.cause)
        return self.ending.cause is None

    def _gpus(self, trial: str) -> float:
        """The share of a GPU that a trial uses, or 1 if there is no GPU."""
        return self.held[trial].gpus or 1.0

    def worker_failed(self, trial: str, message: str, failure: Failure) -> None:
        """The process of a trial ended: retry the job from its checkpoint, within the failure limits."""
        job = self.jobs.get(trial)
        if job is None:
            return
        with self._errors_end_the_run():
            self.stages.ended(trial, job, self._gpus(trial))
            last_line = message.splitlines()[-1] if message else "the worker died"
            if failure is Failure.WRONG_NODE:
                self.on_event("lost", {"config": job.config, "fold": job.fold, "fault": last_line})
                self._requeue(trial)
                return
            if failure is Failure.OUT_OF_MEMORY:  # of the node, not of a GPU
                shared = self.held[trial].slots > 1
                self._out_of_memory(trial, job, f"{message}\n{NODE_OUT_OF_MEMORY}", shared)
                return
            if not self.failure_limits.allows_retry((job.config, job.fold), failure, last_line):
                self._fail(trial, job, "crash", message)
                return
            self._fault(job, NODE_LEFT if failure is Failure.NODE_LOST else last_line)
            self._requeue(trial)

    def requeue_stranded(self, trial: str) -> bool:
        """Requeue the job of a pending trial if no node may be left for it; whether that was so.

        A trial can run on nodes of its GPU kind that were not excluded when the job was handed out.
        """
        allotments = {each.kind: each for each in self.allotments()}
        if trial not in self.jobs or not allotments:
            return False
        held = self.held[trial]
        if held.kind in allotments and set(held.avoid) <= set(allotments[held.kind].avoid):
            return False
        self._requeue(trial)
        return True

    def trial_ended(self, trial: str) -> None:
        """Give back the job of a trial that ended without a verdict."""
        if trial in self.jobs:
            with self._errors_end_the_run():
                self._give_back(trial, "the trial ended")

    def _requeue(self, trial: str) -> None:
        """An exclusive job stays exclusive."""
        queue = self.exclusive_retries if trial == self.exclusive_trial else self.retries
        queue.append(self.jobs.pop(trial))
        self.stages.ended(trial, queue[-1], self._gpus(trial))

    def _fault(self, job: Job, fault: str) -> None:
        self.study.fault(job, fault)
        self.on_event("fault", {"config": job.config, "fold": job.fold, "fault": fault})

    def _fail(self, trial: str, job: Job, reason: str, message: str) -> None:
        """A fold that cannot be trained is reported to the policy as NaN at its horizon."""
        seconds = self.study.policy.score_table.seconds(job.config, job.fold)
        horizon = self.study.policy.score_table.entrants[job.config].horizon
        write_text(fold_folder(self.settings.folder, job.config, job.fold) / "error.txt", f"{reason}: {message}\n")
        self.study.fault(job, f"{reason}: {message.splitlines()[-1] if message else ''}")
        self.study.report(Report(job.config, job.fold, horizon, math.nan, seconds))
        self.on_event("failed", {"config": job.config, "fold": job.fold, "fault": reason})
        del self.jobs[trial]

    def _out_of_memory(self, trial: str, job: Job, message: str, shared: bool) -> None:
        """Fail the fold only if it had the device to itself: otherwise other jobs may have used the memory."""
        if not shared or trial == self.exclusive_trial:
            self._fail(trial, job, OUT_OF_MEMORY, message)
            return
        self._fault(job, f"{message.splitlines()[-1]} while other jobs were running: retried alone")
        self.exclusive_retries.append(self.jobs.pop(trial))

    def _give_back(self, trial: str, reason: str) -> None:
        job = self.jobs.pop(trial)
        self.stages.ended(trial, job, self._gpus(trial))
        self.study.lost(job, reason)
        self.on_event("lost", {"config": job.config, "fold": job.fold, "fault": reason})

    def _check_for_end(self) -> None:
        left = self.jobs or self.exclusive_retries or self.retries or self.stages.held_back
        self.ending.check(self.study.policy.score_table, idle=not left)

    @contextmanager
    def _errors_end_the_run(self) -> Iterator[None]:
        """Keep an error such as a full disk for the user: Tune would swallow it."""
        try:
            yield
        except (UserError, OSError) as error:
            self.ending.broken(error)
            self.jobs.clear()
