"""A study: a policy whose every step is recorded in a journal before it takes effect, and restored from it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from search.messages import Continue, Entrant, Finished, Job, Report, Stop, Verdict, Wait
from search.policies.contract import Policy
from search.runs.journal import Journal, Line
from spaces.space import Point
from trainable.errors import UserError

LOOK_AHEAD = 1000  # jobs, which are all needed sooner or later


def entrant_of(point: Point) -> Entrant:
    return Entrant(point.id, tuple(point.config.report_steps(point.config.steps)), dict(point.values))


class Study:
    """A policy with a journal. Each job and each report is recorded once, before the caller learns of the decision."""

    def __init__(self, policy: Policy, journal: Journal) -> None:
        self.policy = policy
        self.journal = journal

    def begin(self, **facts: Any) -> None:
        """Start a driver. Jobs that are still outstanding died with the previous one."""
        self.journal.append("begin", **facts)
        _begin(self.policy, facts)

    def add(self, entrant: Entrant) -> None:
        if entrant.config not in self.policy.score_table.entrants:
            self.journal.append("config", **_entrant_fields(entrant))
            self.policy.add(entrant)

    def next(self) -> Job | Wait | Finished:
        action = self.policy.next()
        if isinstance(action, Job):
            try:
                self.journal.append("job", **asdict(action))
            except UserError:
                self.policy.lost(action)
                raise
        return action

    def report(self, report: Report) -> Verdict:
        """Judge a report and record both. A repeated report is judged again, but not recorded again."""
        known = report.step in self.policy.score_table.curve(report.config, report.fold)
        verdict = self.policy.report(report)
        if not known:
            stopped = {"stop": verdict.reason} if isinstance(verdict, Stop) else {}
            self.journal.append("report", **report.record(), **stopped)
        elif isinstance(verdict, Stop):
            self.journal.append("stop", config=report.config, fold=report.fold, reason=verdict.reason)
        return verdict

    def lost(self, job: Job, fault: str) -> None:
        """The worker died or returned the job, which may be assigned again."""
        self.journal.append("lost", config=job.config, fold=job.fold, fault=fault)
        self.policy.lost(job)

    def look_ahead(self, workers: int) -> int:
        """How many jobs may be held at once to find one that can start."""
        return LOOK_AHEAD

    def hold(self, job: Job) -> None:
        """The job stays outstanding, but waits for what another one makes."""
        self.journal.append("held", config=job.config, fold=job.fold)

    def resume(self, job: Job) -> None:
        """The job that was held is handed out."""
        self.journal.append("job", **asdict(job))

    def pretrained(self, job: Job, seconds: float, gpus: float, made: bool) -> None:
        """Record what pre-training has taken in a job, and whether its product is there."""
        share = {} if gpus == 1.0 else {"gpus": gpus}
        fields = {"config": job.config, "fold": job.fold, "seconds": seconds, "made": made, **share}
        self.journal.append("pretraining", **fields)
        _pretraining(self.policy, fields)

    def trains_on(self, device: str) -> None:
        """Record what fold trials train on, GPU or CPU, which has no effect on the policy."""
        self.journal.append("devices", device=device)

    def fault(self, job: Job, description: str) -> None:
        """Record that a fold trial failed and is retried, which has no effect on the policy."""
        self.journal.append("fault", config=job.config, fold=job.fold, fault=description)


def replay_lines(policy: Policy, lines: Iterable[Line]) -> None:
    """Restore the state of a policy from these records; reports are not judged again, which is faster."""
    for line in lines:
        try:
            _REPLAY.get(line.kind, _ignore)(policy, line.fields)
        except (KeyError, TypeError, UserError) as error:
            raise UserError(f"journal, line {line.number}: does not fit the records before it ({error})") from None


def verdicts(policy: Policy, lines: Iterable[Line]) -> list[tuple[int, Verdict, Verdict]]:
    """Judge every report again, and return (line number, recorded verdict, new verdict) where they differ.

    Reasons are compared too, and may be worded differently in runs of another version.
    """
    different = []
    for line in lines:
        if line.kind != "report":
            _REPLAY.get(line.kind, _ignore)(policy, line.fields)
            continue
        then: Verdict = Stop(line.fields["stop"]) if "stop" in line.fields else Continue()
        now = policy.report(_report(line.fields))
        if now != then:
            different.append((line.number, then, now))
    return different


def _entrant_fields(entrant: Entrant) -> dict[str, Any]:
    return {"config": entrant.config, "steps": list(entrant.steps), "parameters": dict(entrant.parameters)}


def _report(fields: Any) -> Report:
    required = {key: fields[key] for key in ("config", "fold", "step", "score", "seconds")}
    return Report(**required, gpus=fields.get("gpus", 1.0))


def _add(policy: Policy, fields: Any) -> None:
    policy.add(Entrant(fields["config"], tuple(fields["steps"]), fields["parameters"]))


def _assign(policy: Policy, fields: Any) -> None:
    if fields["config"] not in policy.score_table.entrants:
        raise UserError(f"job of config {fields['config']!r}: no such config was added")
    policy.score_table.check_fold(fields["config"], fields["fold"])
    policy.score_table.outstanding[fields["config"], fields["fold"]] = Job(
        fields["config"], fields["fold"], fields["until"]
    )


def _note(policy: Policy, fields: Any) -> None:
    policy.note(_report(fields))
    if "stop" in fields:
        _release(policy, fields)


def _release(policy: Policy, fields: Any) -> None:
    policy.release_job(fields["config"], fields["fold"])


def _pretraining(policy: Policy, fields: Any) -> None:
    policy.score_table.spend(fields["seconds"] * fields.get("gpus", 1.0))


def _ignore(policy: Policy, fields: Any) -> None:
    """Ignore records that have no effect on policies."""


def _begin(policy: Policy, fields: Any) -> None:
    for job in list(policy.score_table.outstanding.values()):
        policy.lost(job)


_REPLAY: dict[str, Callable[[Policy, Any], None]] = {
    "begin": _begin,
    "config": _add,
    "job": _assign,
    "report": _note,
    "stop": _release,
    "lost": _release,
    "pretraining": _pretraining,
}
