"""Where a run stands, from its journal alone: while it runs, after it ended, and after it died."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from search.board import Cell
from search.journal import Line
from search.run_folder import Run
from search.schedulers import policy_of
from search.study import replay_lines

STATES = ("done", "running", "paused", "failed")
COLUMNS = ("config", "fold", "state", "step", "of", "score", "seconds", "faults", "reason")
COUNTS = ("run", "state", "configs", *STATES, "gpu_seconds", "leader")


@dataclass
class FoldState:
    """One fold trial: what it is doing and the last thing that was decided about it."""

    state: str = "waiting"
    step: int = 0
    score: float = math.nan
    seconds: float = 0.0
    reason: str = ""
    faults: int = 0


@dataclass
class Status:
    state: str
    folds: int
    trials: dict[tuple[str, int], FoldState]
    horizons: dict[str, int]
    leader: dict[str, Any] | None
    peers: list[str] = field(default_factory=list)

    @property
    def gpu_seconds(self) -> float:
        return sum(trial.seconds for trial in self.trials.values())

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials.values())


def status_of(run: Run) -> Status:
    """Read the journal once; nothing of the run is touched."""
    lines = run.lines()
    space = run.space()
    driven = run.driven
    trials, horizons, ended = fold_states(lines, driven)
    policy = policy_of(space)
    replay_lines(policy, lines)
    for (config, _), trial in trials.items():
        if trial.state == "paused":
            trial.reason = policy.why(config) or trial.reason
    answer = policy.answer()
    leader = None
    if answer.winner is not None:
        scores = policy.board.scores(answer.winner)
        leader = {"id": answer.winner, "folds": len(scores), "mean": sum(scores) / len(scores) if scores else None}
    return Status(
        _state(driven, ended, bool(lines)), space.settings.folds, trials, horizons, leader, list(answer.peers)
    )


def fold_states(lines: Iterable[Line], driven: bool) -> tuple[dict[Cell, FoldState], dict[str, int], str]:
    """Every fold trial that was ever handed out, the horizon of every config, and why the run ended if it did."""
    trials: dict[Cell, FoldState] = defaultdict(FoldState)
    horizons: dict[str, int] = {}
    ended = ""
    for line in lines:
        fields = line.fields
        if line.kind == "begin":
            ended = ""
            _put_down(trials)
        elif line.kind == "end":
            ended = fields["reason"]
        elif line.kind == "config":
            horizons[fields["config"]] = fields["steps"][-1]
        elif line.kind in _TRIAL:
            _TRIAL[line.kind](trials[fields["config"], fields["fold"]], fields, horizons)
    if not driven:
        _put_down(trials)
    return dict(trials), horizons, ended


def document(status: Status) -> dict[str, Any]:
    """For JSON."""
    return {
        "state": status.state,
        "configs": len(status.horizons),
        "trials": {state: status.count(state) for state in STATES}
        | {"faults": sum(t.faults for t in status.trials.values())},
        "gpu_seconds": status.gpu_seconds,
        "leader": status.leader,
        "peers": status.peers,
    }


def summary(status: Status) -> str:
    """One line for people."""
    counts = ", ".join(f"{status.count(state)} {state}" for state in STATES)
    leader = ""
    if status.leader is not None and status.leader["mean"] is not None:
        leader = f", leader {status.leader['id']} with {status.leader['mean']:.4f} on {status.leader['folds']} folds"
    return f"{status.state}; {len(status.horizons)} configs, fold trials: {counts}; {status.gpu_seconds:.0f} s{leader}"


def overview(run: Run) -> dict[str, Any]:
    """One row of a list of runs."""
    status = status_of(run)
    leader = status.leader["id"] if status.leader else None
    counts = {state: status.count(state) for state in STATES}
    return {
        "run": run.name,
        "state": status.state,
        "configs": len(status.horizons),
        **counts,
        "gpu_seconds": round(status.gpu_seconds, 1),
        "leader": leader,
    }


def rows(status: Status) -> list[dict[str, Any]]:
    """A row per fold trial that was ever handed out."""
    return [
        {
            "config": config,
            "fold": fold,
            "state": trial.state,
            "step": trial.step,
            "of": status.horizons[config],
            "score": None if math.isnan(trial.score) else trial.score,
            "seconds": round(trial.seconds, 1),
            "faults": trial.faults,
            "reason": trial.reason,
        }
        for (config, fold), trial in sorted(status.trials.items())
    ]


def _state(driven: bool, ended: str, begun: bool) -> str:
    if driven:
        return "running"
    if not begun:
        return "not begun"
    return f"ended: {ended}" if ended else "died: no driver is at work on it; launch it again to go on"


def _put_down(trials: Mapping[Cell, FoldState]) -> None:
    """What a driver left running is running no more."""
    for trial in trials.values():
        trial.state = "paused" if trial.state == "running" else trial.state


def _job(trial: FoldState, fields: Any, horizons: dict[str, int]) -> None:
    trial.state, trial.reason = "running", ""


def _report(trial: FoldState, fields: Any, horizons: dict[str, int]) -> None:
    trial.step, trial.seconds = max(trial.step, fields["step"]), max(trial.seconds, fields["seconds"])
    if math.isnan(fields["score"]):
        trial.state = "failed"
    else:
        trial.score = fields["score"]
        if fields["step"] >= horizons[fields["config"]]:
            trial.state = "done"
        elif "stop" in fields:
            trial.state = "paused"
    trial.reason = fields.get("stop", trial.reason)


def _stop(trial: FoldState, fields: Any, horizons: dict[str, int]) -> None:
    if trial.state == "running":
        trial.state, trial.reason = "paused", fields.get("reason", fields.get("fault", ""))


def _fault(trial: FoldState, fields: Any, horizons: dict[str, int]) -> None:
    trial.faults += 1
    trial.reason = fields["fault"]


_TRIAL = {"job": _job, "report": _report, "stop": _stop, "lost": _stop, "fault": _fault}
