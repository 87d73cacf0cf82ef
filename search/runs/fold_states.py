"""The state of every fold trial according to the journal."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from search.race.score_table import Cell
from search.runs.journal import Line

STATES = ("done", "running", "paused", "failed")


@dataclass
class FoldState:
    """One fold trial, and the reason for its state."""

    state: str
    step: int = 0
    score: float = math.nan
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    reason: str = ""
    faults: int = 0
    fault: str = ""  # since the last report or job
    changed: int = 0  # the number of the journal line that last changed its state


class FoldStates(dict[Cell, FoldState]):
    """Every fold trial that was ever assigned."""

    def __init__(self) -> None:
        super().__init__()
        self._horizons: dict[str, int] = {}

    def note(self, line: Line) -> None:
        if line.kind == "begin":
            self.pause_running()
        elif line.kind == "retrained":
            cell = (line.fields["config"], line.fields["fold"])
            self[cell].gpu_seconds += line.fields["seconds"] * line.fields.get("gpus", 1.0)
        elif line.kind == "config":
            self._horizons[line.fields["config"]] = line.fields["steps"][-1]
        elif line.kind in _CHANGES:
            horizon = self._horizons[line.fields["config"]]  # fails for an unknown config, before anything changes
            trial = self.setdefault((line.fields["config"], line.fields["fold"]), FoldState("waiting"))
            before = trial.state
            _CHANGES[line.kind](trial, line.fields, horizon)
            trial.changed = line.number if trial.state != before else trial.changed

    def pause_running(self) -> None:
        """No driver is running, so running fold trials are paused."""
        for (config, _), trial in self.items():
            if trial.state == "running":
                trial.state = _state_at_rest(trial, self._horizons[config])


def fold_states(lines: Iterable[Line], driven: bool) -> FoldStates:
    states = FoldStates()
    for line in lines:
        states.note(line)
    if not driven:
        states.pause_running()
    return states


def _job(trial: FoldState, fields: Any, horizon: int) -> None:
    trial.state, trial.reason, trial.fault = "running", "", ""


def _held(trial: FoldState, fields: Any, horizon: int) -> None:
    trial.state, trial.reason = "paused", "waits for the pre-trained encoder that another fold trial is making"


def _report(trial: FoldState, fields: Any, horizon: int) -> None:
    trial.gpu_seconds += max(0.0, fields["seconds"] - trial.seconds) * fields.get("gpus", 1.0)
    trial.step, trial.seconds = max(trial.step, fields["step"]), max(trial.seconds, fields["seconds"])
    if not math.isfinite(fields["score"]):
        trial.state = "failed"
        trial.reason = f"failed: {trial.fault}" if trial.fault else fields.get("stop", "")
        return
    trial.score, trial.fault = fields["score"], ""
    if fields["step"] >= horizon:
        trial.state = "done"
    else:
        trial.state = "paused" if "stop" in fields else "running"
    trial.reason = fields.get("stop", trial.reason)


def _stop(trial: FoldState, fields: Any, horizon: int) -> None:
    if trial.state == "running":
        trial.state = _state_at_rest(trial, horizon)
        trial.reason = fields.get("reason", fields.get("fault", ""))


def _state_at_rest(trial: FoldState, horizon: int) -> str:
    """One that has its last score stays done while its lost model is trained again."""
    return "done" if trial.step >= horizon and math.isfinite(trial.score) else "paused"


def _fault(trial: FoldState, fields: Any, horizon: int) -> None:
    trial.faults += 1
    trial.reason = trial.fault = fields["fault"]


_CHANGES: dict[str, Callable[[FoldState, Any, int], None]] = {
    "job": _job,
    "held": _held,
    "report": _report,
    "stop": _stop,
    "lost": _stop,
    "fault": _fault,
}
