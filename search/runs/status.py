"""The status of a run, updated line by line from its journal, whether it is running, has ended or has died.

``status``, ``list``, ``watch`` and the live view are all based on it.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from search.policies.contract import Policy
from search.policies.registry import policy_of
from search.race.answer import Assessment
from search.race.score_table import Cell
from search.runs.fold_states import FoldStates
from search.runs.journal import Line
from search.runs.recovery import check_journal
from search.runs.run_folder import Run
from search.runs.study import replay_lines
from spaces.space import Space
from trainable.errors import UserError

GPU, CPU, UNKNOWN = "GPU", "CPU", "device"  # which reads "device-hours"


class Status:
    """The policy and the state of every fold trial after these lines of the journal."""

    def __init__(self, policy: Policy, device: str = GPU) -> None:
        self.policy, self.score_table = policy, policy.score_table
        self.trials = FoldStates()
        self.workers = 0  # the most fold trials that this driver ran at once
        self.encoders, self.pretraining_seconds = 0, 0.0  # that were pre-trained, and the GPU-seconds that it took
        self._held: set[Cell] = set()  # outstanding, but waiting for one of them
        self.driven = False
        self.device = device  # whose hours are counted, which the journal may say
        self.ended = ""
        self.unchecked = 0  # records of older versions, which have no checksum
        self._began = self._last = math.nan  # times of the latest driver
        self._before = 0.0  # seconds that earlier drivers ran
        self._assessment: Assessment | None = None  # a cache, cleared by every line

    def note(self, line: Line) -> None:
        replay_lines(self.policy, [line])
        self._assessment = None
        self.trials.note(line)
        self.unchecked += not line.checked
        if line.kind == "begin":
            self._before, self._began = self._recorded, line.at
            self.driven, self.ended, self.workers = True, "", 0
            self._held.clear()
        elif line.kind == "devices":
            self.device = line.fields["device"]
        elif line.kind == "end":
            self.ended = line.fields["reason"]
        elif line.kind == "held":
            self._held.add((line.fields["config"], line.fields["fold"]))
        elif line.kind in ("job", "lost"):
            self._held.discard((line.fields["config"], line.fields["fold"]))
        elif line.kind == "pretraining":
            self.encoders += line.fields["made"]
            self.pretraining_seconds += line.fields["seconds"] * line.fields.get("gpus", 1.0)
        self.workers = max(self.workers, len(self.score_table.outstanding) - len(self._held))
        self._last = line.at

    def set_driven(self, driven: bool) -> None:
        """Set whether a driver is running, which the journal does not say. Without one, no fold trial is running."""
        self.driven = driven
        if not driven:
            self.trials.pause_running()

    @property
    def state(self) -> str:
        if self.ended:
            return f"ended: {self.ended}"
        if self.driven:
            return "running"
        return (
            "not started" if math.isnan(self._began) else "died: its driver is not running; launch it again to resume"
        )

    def elapsed(self, now: float) -> float:
        """The total time that drivers were running, in seconds."""
        running = self.driven and not self.ended and not math.isnan(self._began)
        return self._before + max(0.0, now - self._began) if running else self._recorded

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials.values())

    @property
    def assessment(self) -> Assessment:
        """What is known of all configs."""
        if self._assessment is None:
            self._assessment = self.policy.assess()
        return self._assessment

    @property
    def ranking(self) -> tuple[str, ...]:
        return self.assessment.ranking

    @property
    def leader(self) -> dict[str, Any] | None:
        """The best complete config, or before there is one, the best config that can be compared."""
        config = self.assessment.winner or next(iter(self.ranking), None)
        if config is None:
            return None
        scores = [self.score_table.shown(score) for score in self.score_table.scores(config)]
        return {
            "id": config,
            "folds": len(scores),
            "mean": fmean(scores) if scores else None,
            "sd": stdev(scores) if len(scores) > 1 else None,
        }

    def reason(self, config: str, fold: int) -> str:
        """The reason for the state of a fold trial; for a paused one the current reason, which may have changed."""
        trial = self.trials[config, fold]
        return (self.policy.why(config) if trial.state == "paused" else None) or trial.reason

    @property
    def _recorded(self) -> float:
        return self._before + (0.0 if math.isnan(self._began) else self._last - self._began)


def note_valid(status: Status, lines: Iterable[Line], journal: Path, left_out: list[str]) -> Iterator[Line]:
    """Note the records that fit those before them, and add the problems of the others to ``left_out``."""
    for line in lines:
        try:
            status.note(line)
        except UserError as error:
            left_out.append(f"{journal}, {str(error).removeprefix('journal, ')}")
        except (KeyError, TypeError, ValueError) as error:
            left_out.append(f"{journal}, line {line.number}: does not fit the records before it ({error!r})")
        else:
            yield line


def device_of(space: Space, lines: Iterable[Line] = ()) -> str:
    """What a run trains on, GPU or CPU; runs of earlier versions did not record it, and their space may not say it."""
    share = space.settings.resources.gpu
    likely = UNKNOWN if isinstance(share, str) else GPU if share else CPU
    return next((str(line.fields["device"]) for line in reversed(list(lines)) if line.kind == "devices"), likely)


def new_status(space: Space) -> Status:
    """The status of a run before its first record."""
    return Status(policy_of(space), device_of(space))


def status_of(run: Run) -> Status:
    """Read the journal once, which must be there if fold trials have reported; the run is not changed."""
    check_journal(run)
    status = new_status(run.space())
    driven = run.driven  # before reading: a driver that ends meanwhile writes an end record
    for line in run.lines():
        status.note(line)
    status.set_driven(driven or run.driven)
    return status
