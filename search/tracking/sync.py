"""Keeps trackers in sync with a run from a background thread: a slow or unreachable server does not delay the search.

The journal is the truth and a tracker a copy of it. Each launch first logs what a tracker lacks of the journal, so no
point is logged twice and none stays missing after a crash, after an outage, or if tracking is enabled late.
"""

import math
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.engine.listeners import Listener
from search.messages import Entrant
from search.race.score_table import Cell
from search.runs.fold_states import FoldState, fold_states
from search.runs.journal import Line
from search.tracking.identity import ClosedTrials, read_closed, write_closed
from search.tracking.tracker import TrackedTrial, Tracker
from trainable.errors import first_line
from trainable.printing import say

FINISH_SECONDS = 60.0  # how long a run waits at its end for slow trackers
LATER = "the next launch logs what is missing"
Point = tuple[int, float, float, float]  # step, score, seconds, clock


@contextmanager
def track_run(
    trackers: Sequence[Tracker], folder: Path, entrants: Mapping[str, Entrant], lines: Iterable[Line]
) -> Iterator[Listener]:
    """A listener that passes events to the trackers; ``lines`` is the journal at the launch."""
    if not trackers:
        yield lambda event, facts: None
        return
    past = list(lines)
    events: queue.SimpleQueue[tuple[str, Mapping[str, Any], float] | None] = queue.SimpleQueue()

    def work() -> None:
        syncs = [TrackerSync(tracker, folder, entrants) for tracker in trackers]
        for sync in syncs:
            sync.catch_errors(sync.catch_up, past)
        while (event := events.get()) is not None:
            for sync in syncs:
                sync.catch_errors(sync.process, *event)
        for sync in syncs:
            sync.catch_errors(sync.close_all)

    thread = threading.Thread(target=work, name="tracking", daemon=True)
    thread.start()
    timeout = FINISH_SECONDS
    try:
        yield lambda event, facts: events.put((event, dict(facts), time.time()))
    except KeyboardInterrupt:  # the second Ctrl-C stops immediately
        timeout = 0.0
        raise
    finally:
        events.put(None)
        thread.join(timeout)
        if thread.is_alive():
            say(f"tracking: is not finished after {timeout:.0f} s; {LATER}")


@dataclass
class TrackerSync:
    """One tracker and what has been logged to it."""

    tracker: Tracker
    folder: Path
    entrants: Mapping[str, Entrant]
    open_trials: dict[Cell, int] = field(default_factory=dict)  # with the last logged step
    closed: ClosedTrials = field(default_factory=dict)
    failed: bool = False

    def catch_errors(self, work: Callable[..., None], *arguments: Any) -> None:
        """A tracker that fails is reported once and skipped until the next launch."""
        if self.failed:
            return
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001  whatever a tracker's library raises must not end the search
            self.failed = True
            say(f"tracking: {self.tracker.location}: {first_line(error)}; the search continues, {LATER}")

    def catch_up(self, lines: Sequence[Line]) -> None:
        self.closed = read_closed(self.folder, self.tracker.location)
        say(f"tracking: {self.tracker.location}")
        states = fold_states(lines, driven=False)
        curves: dict[Cell, list[Point]] = defaultdict(list)
        for line in lines:
            if line.kind == "report" and math.isfinite(line.fields["score"]):
                fields = line.fields
                point = (fields["step"], fields["score"], fields["seconds"], line.at)
                curves[fields["config"], fields["fold"]].append(point)
        for cell, state in states.items():
            self._log_missing(cell, curves[cell], state)

    def process(self, event: str, facts: Mapping[str, Any], at: float) -> None:
        if event not in ("report", "failed"):
            return
        cell = (facts["config"], facts["fold"])
        if event == "failed":
            self._open(cell)
            self._close(cell, "failed", facts["fault"])
            return
        last_step = self.open_trials.get(cell, self._last_step(cell))
        if facts["step"] > last_step and math.isfinite(facts["score"]):
            self._log(cell, (facts["step"], facts["score"], facts["seconds"], at))
        if facts["stop"] and cell in self.open_trials:
            complete = facts["step"] >= self.entrants[cell[0]].horizon
            self._close(cell, "done" if complete else "paused", facts["stop"])

    def close_all(self) -> None:
        """Close the fold trials that are still running when the run ends."""
        for cell in list(self.open_trials):
            self._close(cell, "paused", "the run stopped")

    def _log_missing(self, cell: Cell, curve: Sequence[Point], state: FoldState) -> None:
        last = max((point[0] for point in curve), default=0)
        if self.closed.get(self._trial(cell).name) == [last, state.state] or not (curve or state.state == "failed"):
            return
        self._open(cell)
        for point in sorted(curve):
            self._log(cell, point)
        self._close(cell, state.state, state.reason or "the run stopped")

    def _last_step(self, cell: Cell) -> int:
        return int(self.closed.get(self._trial(cell).name, [0])[0])

    def _open(self, cell: Cell) -> None:
        if cell not in self.open_trials:
            last_step = self.tracker.open(self._trial(cell))
            self.open_trials[cell] = max(last_step, self._last_step(cell))

    def _log(self, cell: Cell, point: Point) -> None:
        self._open(cell)
        if point[0] > self.open_trials[cell]:
            self.tracker.report(self._trial(cell), *point)
            self.open_trials[cell] = point[0]

    def _close(self, cell: Cell, state: str, reason: str) -> None:
        self.tracker.close(self._trial(cell), state, reason)
        self.closed[self._trial(cell).name] = [self.open_trials.pop(cell), state]
        write_closed(self.folder, self.tracker.location, self.closed)

    def _trial(self, cell: Cell) -> TrackedTrial:
        return TrackedTrial(*cell, self.entrants[cell[0]].parameters)
