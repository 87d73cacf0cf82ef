"""A study: a policy whose every step is on record before it has an effect, and which a journal brings back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from search.messages import Continue, Entrant, Finished, Job, Report, Stop, Verdict, Wait
from search.policies.contract import Policy
from search.runs.journal import Journal, Line
from spaces.space import Point
from trainable.errors import UserError


def entrant_of(point: Point) -> Entrant:
    """A config of a space as policies know it."""
    return Entrant(point.id, tuple(point.config.report_steps(point.config.steps)), dict(point.values))


class Study:
    """Drives one policy. Whatever it says has been synced to the journal first; a job or a report is told once."""

    def __init__(self, policy: Policy, journal: Journal) -> None:
        self.policy = policy
        self.journal = journal

    def begin(self, **facts: Any) -> None:
        """A driver starts, or starts again: the jobs that are out died with the one before."""
        self.journal.append("begin", **facts)
        _begin(self.policy, facts)

    def add(self, entrant: Entrant) -> None:
        if entrant.config not in self.policy.score_table.entrants:
            self.journal.append("config", **_of_entrant(entrant))
            self.policy.add(entrant)

    def next(self) -> Job | Wait | Finished:
        said = self.policy.next()
        if isinstance(said, Job):
            try:
                self.journal.append("job", **asdict(said))
            except UserError:
                self.policy.lost(said)
                raise
        return said

    def report(self, report: Report) -> Verdict:
        """Judge a report and put both on record; a report that is known already is judged again and not recorded."""
        known = report.step in self.policy.score_table.curve(report.config, report.fold)
        verdict = self.policy.report(report)
        if not known:
            stopped = {"stop": verdict.reason} if isinstance(verdict, Stop) else {}
            self.journal.append("report", **report.record(), **stopped)
        elif isinstance(verdict, Stop):
            self.journal.append("stop", config=report.config, fold=report.fold, reason=verdict.reason)
        return verdict

    def lost(self, job: Job, fault: str) -> None:
        """The worker is gone or gave the job back; the job may be handed out again."""
        self.journal.append("lost", config=job.config, fold=job.fold, fault=fault)
        self.policy.lost(job)

    def fault(self, job: Job, what: str) -> None:
        """A fold trial failed and is being tried again: told, but of no consequence for the race."""
        self.journal.append("fault", config=job.config, fold=job.fold, fault=what)


def replay_lines(policy: Policy, lines: Iterable[Line]) -> None:
    """Bring a fresh policy to where these records left the run; nothing is judged again, so it is fast."""
    for line in lines:
        try:
            _REPLAY.get(line.kind, _nothing)(policy, line.fields)
        except (KeyError, TypeError, UserError) as error:
            raise UserError(f"journal, line {line.number}: does not fit what stands before it ({error})") from None


def verdicts(policy: Policy, lines: Iterable[Line]) -> list[tuple[int, Verdict, Verdict]]:
    """Judge every recorded report again: (line, what was decided then, what is decided now) where they differ."""
    different = []
    for line in lines:
        if line.kind != "report":
            _REPLAY.get(line.kind, _nothing)(policy, line.fields)
            continue
        then: Verdict = Stop(line.fields["stop"]) if "stop" in line.fields else Continue()
        now = policy.report(_report(line.fields))
        if now != then:
            different.append((line.number, then, now))
    return different


def _of_entrant(entrant: Entrant) -> dict[str, Any]:
    return {"config": entrant.config, "steps": list(entrant.steps), "parameters": dict(entrant.parameters)}


def _report(fields: Any) -> Report:
    told = {key: fields[key] for key in ("config", "fold", "step", "score", "seconds")}
    return Report(**told, gpus=fields.get("gpus", 1.0))


def _add(policy: Policy, fields: Any) -> None:
    policy.add(Entrant(fields["config"], tuple(fields["steps"]), fields["parameters"]))


def _hand_out(policy: Policy, fields: Any) -> None:
    if fields["config"] not in policy.score_table.entrants:
        raise UserError(f"job of config {fields['config']!r}: no such config was added")
    policy.score_table.check_fold(fields["config"], fields["fold"])
    policy.score_table.outstanding[fields["config"], fields["fold"]] = Job(
        fields["config"], fields["fold"], fields["until"]
    )


def _note(policy: Policy, fields: Any) -> None:
    policy.note(_report(fields))
    if "stop" in fields:
        _take_back(policy, fields)


def _take_back(policy: Policy, fields: Any) -> None:
    policy.release_job(fields["config"], fields["fold"])


def _nothing(policy: Policy, fields: Any) -> None:
    """Records that tell people something and policies nothing."""


def _begin(policy: Policy, fields: Any) -> None:
    for job in list(policy.score_table.outstanding.values()):
        policy.lost(job)


_REPLAY: dict[str, Callable[[Policy, Any], None]] = {
    "begin": _begin,
    "config": _add,
    "job": _hand_out,
    "report": _note,
    "stop": _take_back,
    "lost": _take_back,
}
