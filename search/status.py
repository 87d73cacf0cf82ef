"""Where a run stands: a picture made of its journal's lines one by one, while it runs, after it ended, after it died.

``status``, ``list``, ``watch`` and the live view are all drawn from it; there is no other reader of what happened.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from search.board import Cell
from search.journal import Line
from search.policy import Policy
from search.run_folder import Run
from search.schedulers import policy_of
from search.study import replay_lines

STATES = ("done", "running", "paused", "failed")


@dataclass
class FoldState:
    """One fold trial: what it is doing and the last thing that was decided about it."""

    state: str
    step: int = 0
    score: float = math.nan
    seconds: float = 0.0
    reason: str = ""
    faults: int = 0
    changed: int = 0  # the line of the journal that changed its state last


class Status:
    """The policy as it stands after these lines, and what every fold trial is doing."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.board = policy, policy.board
        self.trials: dict[Cell, FoldState] = {}
        self.workers = 0  # the most fold trials that the driver had running at once
        self.driven = False
        self.ended = ""
        self._began = self._last = math.nan  # of this driver
        self._before = 0.0  # seconds that the drivers before it worked

    def note(self, line: Line) -> None:
        replay_lines(self.policy, [line])
        if line.kind == "begin":
            self._before, self._began = self._worked, line.at
            self.driven, self.ended, self.workers = True, "", 0
            self._pause_all()
        elif line.kind == "end":
            self.ended = line.fields["reason"]
        elif line.kind in _TRIAL:
            trial = self.trials.setdefault((line.fields["config"], line.fields["fold"]), FoldState("waiting"))
            before = trial.state
            _TRIAL[line.kind](trial, line.fields, self.board.entrants[line.fields["config"]].horizon)
            trial.changed = line.number if trial.state != before else trial.changed
            self.workers = max(self.workers, len(self.board.out))
        self._last = line.at

    def look(self, driven: bool) -> None:
        """Whether a driver is at work, which no journal can tell; without one nothing is running."""
        self.driven = driven
        if not driven:
            self._pause_all()

    @property
    def state(self) -> str:
        if self.ended:
            return f"ended: {self.ended}"
        if self.driven:
            return "running"
        return "not begun" if math.isnan(self._began) else "died: no driver is at work on it; launch it again to go on"

    def elapsed(self, now: float) -> float:
        """Seconds that drivers were at work."""
        going_on = self.driven and not self.ended and not math.isnan(self._began)
        return self._before + max(0.0, now - self._began) if going_on else self._worked

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials.values())

    @property
    def ranking(self) -> tuple[str, ...]:
        return self.policy.ranking() if self.board.entrants else ()

    @property
    def leader(self) -> dict[str, Any] | None:
        """The best of the complete configs; before there is one, the best of all that can be compared."""
        ranking = self.ranking
        complete = (config for config in ranking if self.board.complete(config))
        config = next(complete, ranking[0] if ranking else None)
        if config is None:
            return None
        scores = self.board.scores(config)
        return {
            "id": config,
            "folds": len(scores),
            "mean": fmean(scores) if scores else None,
            "sd": stdev(scores) if len(scores) > 1 else None,
        }

    def reason(self, config: str, fold: int) -> str:
        """Why a fold trial is where it is, as things stand now: a config that was paused may be wanted again."""
        trial = self.trials[config, fold]
        return (self.policy.why(config) if trial.state == "paused" else None) or trial.reason

    @property
    def _worked(self) -> float:
        return self._before + (0.0 if math.isnan(self._began) else self._last - self._began)

    def _pause_all(self) -> None:
        for trial in self.trials.values():
            trial.state = "paused" if trial.state == "running" else trial.state


def status_of(run: Run) -> Status:
    """Read the journal once; nothing of the run is touched."""
    status = Status(policy_of(run.space()))
    driven = run.driven  # before the lines are read: who ended in between has left word of it
    for line in run.lines():
        status.note(line)
    status.look(driven or run.driven)
    return status


def _job(trial: FoldState, fields: Any, horizon: int) -> None:
    trial.state, trial.reason = "running", ""


def _report(trial: FoldState, fields: Any, horizon: int) -> None:
    trial.step, trial.seconds = max(trial.step, fields["step"]), max(trial.seconds, fields["seconds"])
    if math.isnan(fields["score"]):
        trial.state = "failed"
        trial.reason = f"failed: {trial.reason}" if trial.faults and trial.reason else fields.get("stop", "")
        return
    trial.score = fields["score"]
    if fields["step"] >= horizon:
        trial.state = "done"
    else:
        trial.state = "paused" if "stop" in fields else "running"
    trial.reason = fields.get("stop", trial.reason)


def _stop(trial: FoldState, fields: Any, horizon: int) -> None:
    if trial.state == "running":
        trial.state, trial.reason = "paused", fields.get("reason", fields.get("fault", ""))


def _fault(trial: FoldState, fields: Any, horizon: int) -> None:
    trial.faults += 1
    trial.reason = fields["fault"]


_TRIAL: dict[str, Callable[[FoldState, Any, int], None]] = {
    "job": _job,
    "report": _report,
    "stop": _stop,
    "lost": _stop,
    "fault": _fault,
}
