"""A policy: a pure state machine that hands out jobs and judges reports. It uses neither a clock nor the cluster."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TypeVar

from search.messages import Answer, Continue, Entrant, Finished, Job, Record, Report, Stop, Verdict, Wait
from search.race.answer import Assessment, assess
from search.race.score_table import ScoreTable


class Policy(ABC):
    """What all policies have in common; each policy implements ``choose``, ``judge`` and ``answer``.

    These three may read only the score table. The state of a policy is therefore the facts in that table, and replaying
    the journal restores it. Configs may be added at any time, and repeated reports have no effect.
    """

    rungs: tuple[float, ...] = ()  # shares of the horizon at which fold 0 is judged before its end
    screens_first = True  # whether every config is screened before any of them is trained further
    rules_version = 3  # of the rules by which configs are compared, which the journal records
    earlier_rules = ""  # says that the journal holds decisions by the rules of an earlier version, if it does

    def __init__(self, entrants: Iterable[Entrant], folds: int, budget: float | None = None) -> None:
        self.score_table = ScoreTable(folds, budget)
        for entrant in entrants:
            self.add(entrant)

    @abstractmethod
    def choose(self) -> Job | None:
        """The best job for a free worker, of a fold trial without an outstanding job; None if there is none now."""

    @abstractmethod
    def judge(self, report: Report) -> str | None:
        """The reason why the fold trial of this report should pause, or None to continue it."""

    @abstractmethod
    def answer(self) -> Answer:
        """The winner so far."""

    def why(self, config: str) -> str | None:
        """The reason why this config is not trained any further at present, or None."""
        return None

    def eligible(self) -> Iterator[Job]:
        """Every job that could start now on enough workers: a lower bound on the remaining work."""
        job = self.choose()
        yield from () if job is None else (job,)

    def assess(self) -> Assessment:
        """What is known of all configs: every view and report quotes this."""
        return assess(self.score_table, self.rungs)

    def ranking(self) -> tuple[str, ...]:
        """The configs that can be compared so far, the best expected mean first."""
        return self.assess().ranking

    def add(self, entrant: Entrant) -> None:
        self.score_table.add(entrant)

    def next(self) -> Job | Wait | Finished:
        job = None if self.score_table.exhausted else self.choose()
        if job is not None:
            self.score_table.outstanding[job.config, job.fold] = job
            return job
        if self.score_table.outstanding:
            return Wait()
        return Finished(self._budget_spent() if self.score_table.exhausted else "every job is done")

    def note(self, report: Report) -> bool:
        """Record a report without judging it, as resuming does; return False for a repeated one."""
        return self.score_table.record(report)

    def report(self, report: Report) -> Verdict:
        self.note(report)
        reason = self._stop_reason(report)
        if reason is None:
            return Continue()
        self.release_job(report.config, report.fold)
        return Stop(reason)

    def lost(self, job: Job) -> None:
        """The worker died or returned the job, which may be assigned again."""
        self.release_job(job.config, job.fold)

    def release_job(self, config: str, fold: int) -> None:
        """The job of this fold trial is no longer outstanding."""
        self.score_table.outstanding.pop((config, fold), None)

    def _stop_reason(self, report: Report) -> str | None:
        if (cell := self.score_table.failed.get(report.config)) is not None:
            return f"failed: a score of fold {cell[1]} is not a number, so the config cannot win"
        if report.step >= self.score_table.entrants[report.config].horizon:
            return f"complete: fold {report.fold} has all {report.step} steps"
        if self.score_table.exhausted:
            return self._budget_spent()
        if (reason := self.judge(report)) is not None:
            return reason
        job = self.score_table.outstanding.get((report.config, report.fold))
        if job is not None and report.step >= job.until:
            return f"paused: fold {report.fold} reached step {job.until}"
        return None

    def _budget_spent(self) -> str:
        return f"budget spent: {self.score_table.spent:.0f} of {self.score_table.budget:.0f} GPU-seconds"


P = TypeVar("P", bound=Policy)


def replay(policy: P, records: Iterable[Record]) -> P:
    """Bring a policy to its state after these records. Jobs that are still outstanding died with the run, so they may
    be assigned again.
    """
    for record in records:
        if isinstance(record, Entrant):
            policy.add(record)
        elif isinstance(record, Job):
            policy.score_table.outstanding[record.config, record.fold] = record
        else:
            policy.report(record)
    for job in list(policy.score_table.outstanding.values()):
        policy.lost(job)
    return policy
