"""Where a run stands: a picture made of its journal's lines one by one, while it runs, after it ended, after it died.

``status``, ``list``, ``watch`` and the live view are all drawn from it; there is no other reader of what happened.
"""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any

from search.policies.contract import Policy
from search.policies.registry import policy_of
from search.runs.fold_states import FoldStates
from search.runs.journal import Line
from search.runs.run_folder import Run
from search.runs.study import replay_lines


class Status:
    """The policy as it stands after these lines, and what every fold trial is doing."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.score_table = policy, policy.score_table
        self.trials = FoldStates()
        self.workers = 0  # the most fold trials that the driver had running at once
        self.driven = False
        self.ended = ""
        self._began = self._last = math.nan  # of this driver
        self._before = 0.0  # seconds that the drivers before it worked

    def note(self, line: Line) -> None:
        replay_lines(self.policy, [line])
        self.trials.note(line)
        if line.kind == "begin":
            self._before, self._began = self._worked, line.at
            self.driven, self.ended, self.workers = True, "", 0
        elif line.kind == "end":
            self.ended = line.fields["reason"]
        self.workers = max(self.workers, len(self.score_table.outstanding))
        self._last = line.at

    def set_driven(self, driven: bool) -> None:
        """Whether a driver is at work, which no journal can tell; without one nothing is running."""
        self.driven = driven
        if not driven:
            self.trials.pause_running()

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
        return self.policy.ranking() if self.score_table.entrants else ()

    @property
    def leader(self) -> dict[str, Any] | None:
        """The best of the complete configs; before there is one, the best of all that can be compared."""
        ranking = self.ranking
        complete = (config for config in ranking if self.score_table.complete(config))
        config = next(complete, ranking[0] if ranking else None)
        if config is None:
            return None
        scores = self.score_table.scores(config)
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


def status_of(run: Run) -> Status:
    """Read the journal once; nothing of the run is touched."""
    status = Status(policy_of(run.space()))
    driven = run.driven  # before the lines are read: who ended in between has left word of it
    for line in run.lines():
        status.note(line)
    status.set_driven(driven or run.driven)
    return status
