"""A policy: a pure state machine that hands out jobs and judges reports; it knows neither clock nor
cluster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TypeVar

from search.messages import Answer, Continue, Entrant, Finished, Job, Record, Report, Stop, Verdict, Wait
from search.race.answer import rank_by_full_scores
from search.race.score_table import ScoreTable


class Policy(ABC):
    """Everything that is the same for all policies; one of them is a file that says ``choose``, ``judge``
    and ``answer``.

    These three may read nothing but the board, so a policy's state is the facts on it, and replaying the
    journal restores it. Configs may come at any time; the same report twice changes nothing.
    """

    rungs: tuple[float, ...] = ()  # shares of the horizon at which a first fold is judged before its end
    screens_first = True  # wants every config seen once before any goes on

    def __init__(self, entrants: Iterable[Entrant], folds: int, budget: float | None = None) -> None:
        self.score_table = ScoreTable(folds, budget)
        for entrant in entrants:
            self.add(entrant)

    @abstractmethod
    def choose(self) -> Job | None:
        """The best job for a free worker: never one of a cell that is out; None where there is none for
        now.
        """

    @abstractmethod
    def judge(self, report: Report) -> str | None:
        """Why the fold trial of this report should pause, in words; None to let it go on."""

    @abstractmethod
    def answer(self) -> Answer:
        """The winner as far as it is known."""

    def why(self, config: str) -> str | None:
        """Why this config would not be trained as things stand, where the policy can say so."""
        return None

    def eligible(self) -> Iterator[Job]:
        """Every job that workers could be given now if there were enough of them; a lower bound of what is to come."""
        job = self.choose()
        yield from () if job is None else (job,)

    def ranking(self) -> tuple[str, ...]:
        """Those that can be compared so far, best first by what all their folds are expected to give."""
        return rank_by_full_scores(self.score_table)

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
        """Take a report for a fact without judging it; False where it was known. Resuming does only this."""
        return self.score_table.record(report)

    def report(self, report: Report) -> Verdict:
        self.note(report)
        reason = self._end(report)
        if reason is None:
            return Continue()
        self.release_job(report.config, report.fold)
        return Stop(reason)

    def lost(self, job: Job) -> None:
        """The worker died or gave the job back: it may be handed out again."""
        self.release_job(job.config, job.fold)

    def release_job(self, config: str, fold: int) -> None:
        """Nobody trains this fold trial any more."""
        self.score_table.outstanding.pop((config, fold), None)

    def _end(self, report: Report) -> str | None:
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
    """Bring a policy to where these records leave it. Jobs that are out at the end died with the run: they
    come back.
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
