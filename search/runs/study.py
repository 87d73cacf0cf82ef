"""A study: a policy whose every step is recorded in a journal before it takes effect, and restored from it."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

from search.messages import Continue, Entrant, Finished, Job, Report, Stop, Verdict, Wait
from search.policies.contract import Policy
from search.policies.grid import Grid
from search.race.score_table import Cell
from search.runs.growth import Growth
from search.runs.journal import Journal, Line
from spaces.space import Point
from trainable.errors import UserError

# Versions of rules: 1, which was not recorded, assumed a scale of scores; 2 ranked rungs by scores alone.
REASONS = 3  # since this version, the reasons of pauses are those of today
EARLIER_RULES = "what an earlier version decided by its rules stays; the race and its winner follow the current rules"
EARLIER_PEERS = "the winner's peers follow the current rules, and an earlier version may have named others"
LOOK_AHEAD = 1000  # jobs, which are all needed sooner or later


def entrant_of(point: Point) -> Entrant:
    return Entrant(point.id, tuple(point.config.report_steps(point.config.steps)), dict(point.values))


class Study:
    """A policy with a journal. Each job and each report is recorded once, before the caller learns of the decision."""

    def __init__(self, policy: Policy, journal: Journal) -> None:
        self.policy = policy
        self.journal = journal
        self.completions: Callable[[], Iterable[Job]] = tuple  # asked for once the policy has finished
        self._queue: list[Job] | None = None  # what is left of them
        self._completing: set[Cell] = set()

    def begin(self, **facts: Any) -> None:
        """Start a driver. Jobs that are still outstanding died with the previous one."""
        facts["rules"] = self.policy.rules_version
        self.journal.append("begin", **facts)
        _begin(self.policy, facts)

    def grow(self, growth: Growth) -> None:
        """Record what the space has gained; earlier configs get their values of parameters that were fixed."""
        fields = {"changes": list(growth.changes), "fills": dict(growth.fills)}
        self.journal.append("space", **fields)
        _grow(self.policy, fields)

    def add(self, entrant: Entrant) -> None:
        if entrant.config not in self.policy.score_table.entrants:
            self.journal.append("config", **_entrant_fields(entrant))
            self.policy.add(entrant)

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent."""
        return self.policy.score_table.exhausted

    def next(self) -> Job | Wait | Finished:
        action = self.policy.next()
        if isinstance(action, Job):
            try:
                self.journal.append("job", **asdict(action))
            except UserError:
                self.policy.lost(action)
                raise
            return action
        if self._queue is None and isinstance(action, Finished) and not self.exhausted:
            self._queue = list(self.completions())
        return self.complete(self._queue.pop(0)) if self._queue and not self.exhausted else action

    def peek(self) -> Job | None:
        """A job that could be handed out now, if the budget is not spent."""
        return self._queue[0] if self._queue else self.policy.choose()

    @property
    def wants_config(self) -> bool:
        """Whether a free worker would get a config that is still to be added."""
        return False

    def complete(self, job: Job) -> Job:
        """Hand out a job that the policy did not choose: nothing but its end stops it."""
        self.journal.append("job", **asdict(job), chosen=True)
        self.policy.score_table.outstanding[job.config, job.fold] = job
        self._completing.add((job.config, job.fold))
        return job

    def report(self, report: Report) -> Verdict:
        """Judge a report and record both. A repeated report is judged again, but not recorded again."""
        if (report.config, report.fold) in self._completing:
            return self._report_of_completion(report)
        known = report.step in self.policy.score_table.curve(report.config, report.fold)
        verdict = self.policy.report(report)
        if not known:
            stopped = {"stop": verdict.reason} if isinstance(verdict, Stop) else {}
            self.journal.append("report", **report.record(), **stopped)
        elif isinstance(verdict, Stop):
            self.journal.append("stop", config=report.config, fold=report.fold, reason=verdict.reason)
        return verdict

    def _report_of_completion(self, report: Report) -> Verdict:
        """Record a report; the time of a fold trial whose scores are known already counts once it has ended."""
        table = self.policy.score_table
        known = report.step in table.curve(report.config, report.fold)
        self.policy.note(report)
        reason = None
        if not math.isfinite(report.score):
            reason = f"failed: the score of fold {report.fold} is not a number"
        elif report.step >= table.entrants[report.config].horizon:
            reason = f"complete: fold {report.fold} has all {report.step} steps"
        stopped = {} if reason is None else {"stop": reason}
        if not known:
            self.journal.append("report", **report.record(), **stopped)
        elif reason is not None:
            if math.isfinite(report.score):
                fields = {key: value for key, value in report.record().items() if key not in ("step", "score")}
                self.journal.append("retrained", **fields)
                _spend(self.policy, fields)
            self.journal.append("stop", config=report.config, fold=report.fold, reason=reason)
        if reason is None:
            return Continue()
        self.policy.release_job(report.config, report.fold)
        return Stop(reason)

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
        _spend(self.policy, fields)

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


def earlier_pauses(lines: Iterable[Line]) -> str:
    """What to say of a journal with pauses by the rules of an earlier version; empty if it has none."""
    lines = list(lines)
    earlier = any(line.kind == "begin" and _rules(line.fields, REASONS) < REASONS for line in lines)
    pauses = any(str(line.fields.get("stop")).startswith("paused") for line in lines)
    return EARLIER_RULES if earlier and pauses else ""


def verdicts(policy: Policy, lines: Iterable[Line]) -> list[tuple[int, Verdict, Verdict]]:
    """Judge every report again, and return (line number, recorded verdict, new verdict) where they differ.

    Reasons are compared too, and may be worded differently in runs of another version.
    """
    different, chosen = [], set[Cell]()  # by a person or because a model was lost, and not judged
    for line in lines:
        cell = (str(line.fields.get("config")), line.fields.get("fold", 0))
        if line.kind == "job":
            (chosen.add if "chosen" in line.fields else chosen.discard)(cell)
        if line.kind != "report" or cell in chosen:
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


def _grow(policy: Policy, fields: Any) -> None:
    entrants = policy.score_table.entrants
    for config, entrant in list(entrants.items()) if fields["fills"] else ():
        entrants[config] = replace(entrant, parameters={**fields["fills"], **entrant.parameters})


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


def _spend(policy: Policy, fields: Any) -> None:
    policy.score_table.spend(fields["seconds"] * fields.get("gpus", 1.0))


def _rules(fields: Any, current: int) -> int:
    rules: int = current if "recovered" in fields else fields.get("rules", 1)  # a rebuilt journal has no decisions
    return rules


def _earlier(policy: Policy, rules: int) -> str:
    if isinstance(policy, Grid):  # nothing decides what it trains, and rungs do not matter to it
        return EARLIER_PEERS if rules == 1 else ""
    return EARLIER_RULES if rules < policy.rules_version else ""


def _ignore(policy: Policy, fields: Any) -> None:
    """Ignore records that have no effect on policies."""


def _begin(policy: Policy, fields: Any) -> None:
    policy.earlier_rules = policy.earlier_rules or _earlier(policy, _rules(fields, policy.rules_version))
    for job in list(policy.score_table.outstanding.values()):
        policy.lost(job)


_REPLAY: dict[str, Callable[[Policy, Any], None]] = {
    "begin": _begin,
    "config": _add,
    "space": _grow,
    "job": _assign,
    "report": _note,
    "stop": _release,
    "lost": _release,
    "pretraining": _spend,
    "retrained": _spend,
}
