"""Tells trackers of a run, in a thread of its own: a server that is slow or gone neither stalls nor ends a search.

The journal is the truth, a tracker a copy of it. At each launch whatever a tracker lacks is filled in from the
journal, so that nothing is told twice, and nothing stays missing: not after a crash, not after a server was gone, not
where tracking was turned on late.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.engine.listeners import Listener
from search.messages import Entrant
from search.race.score_table import Cell
from search.runs.fold_states import FoldState, fold_states
from search.runs.journal import Line
from search.tracking.identity import Settled, settle, settled
from search.tracking.tracker import TrackedTrial, Tracker
from trainable.printing import say

PATIENCE = 60.0  # seconds that a run waits at its end for trackers that lag behind
LATER = "the next launch fills in what is missing"
Point = tuple[int, float, float, float]  # step, score, seconds, clock


@contextmanager
def track_run(
    trackers: Sequence[Tracker], folder: Path, entrants: Mapping[str, Entrant], lines: Iterable[Line]
) -> Iterator[Listener]:
    """A watcher that passes on what it is told; ``lines`` are the journal as it was at the launch."""
    if not trackers:
        yield lambda event, facts: None
        return
    past = list(lines)
    events: queue.SimpleQueue[tuple[str, Mapping[str, Any], float] | None] = queue.SimpleQueue()

    def work() -> None:
        followers = [TrackerSync(tracker, folder, entrants) for tracker in trackers]
        for follower in followers:
            follower.guarded(lambda each: each.catch_up(past))
        while (event := events.get()) is not None:
            for follower in followers:
                follower.guarded(lambda each, told=event: each.take(*told))
        for follower in followers:
            follower.guarded(lambda each: each.put_down())

    thread = threading.Thread(target=work, name="tracking", daemon=True)
    thread.start()
    patience = PATIENCE
    try:
        yield lambda event, facts: events.put((event, dict(facts), time.time()))
    except KeyboardInterrupt:  # at once means at once
        patience = 0.0
        raise
    finally:
        events.put(None)
        thread.join(patience)
        if thread.is_alive():
            say(f"tracking: lags behind and is left, {LATER}")


@dataclass
class TrackerSync:
    """One tracker and how far it has got."""

    tracker: Tracker
    folder: Path
    entrants: Mapping[str, Entrant]
    open: dict[Cell, int] = field(default_factory=dict)  # the last step told
    done: Settled = field(default_factory=dict)
    broken: bool = False

    def guarded(self, work: Any) -> None:
        """A tracker that fails is told of once, and left alone until the next launch."""
        if self.broken:
            return
        try:
            work(self)
        except Exception as error:  # noqa: BLE001  whatever a tracker's library raises, the search goes on
            self.broken = True
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            say(f"tracking: {self.tracker.place}: {reason}; the search goes on, {LATER}")

    def catch_up(self, lines: Sequence[Line]) -> None:
        self.done = settled(self.folder, self.tracker.place)
        say(f"tracking: {self.tracker.place}")
        states = fold_states(lines, driven=False)
        curves: dict[Cell, list[Point]] = defaultdict(list)
        for line in lines:
            if line.kind == "report" and math.isfinite(line.fields["score"]):
                fields = line.fields
                point = (fields["step"], fields["score"], fields["seconds"], line.at)
                curves[fields["config"], fields["fold"]].append(point)
        for cell, state in states.items():
            self._fill_in(cell, curves[cell], state)

    def take(self, event: str, facts: Mapping[str, Any], at: float) -> None:
        if event not in ("report", "failed"):
            return
        cell = (facts["config"], facts["fold"])
        if event == "failed":
            self._open(cell)
            self._close(cell, "failed", facts["fault"])
            return
        told = self.open.get(cell, self._told(cell))
        if facts["step"] > told and math.isfinite(facts["score"]):
            self._tell(cell, (facts["step"], facts["score"], facts["seconds"], at))
        if facts["stop"] and cell in self.open:
            whole = facts["step"] >= self.entrants[cell[0]].horizon
            self._close(cell, "done" if whole else "paused", facts["stop"])

    def put_down(self) -> None:
        """The run ends while these are being trained."""
        for cell in list(self.open):
            self._close(cell, "paused", "the run stopped")

    def _fill_in(self, cell: Cell, curve: Sequence[Point], state: FoldState) -> None:
        last = max((point[0] for point in curve), default=0)
        if self.done.get(_name(cell)) == [last, state.state] or not (curve or state.state == "failed"):
            return
        self._open(cell)
        for point in sorted(curve):
            if point[0] > self.open[cell]:
                self._tell(cell, point)
        self._close(cell, state.state, state.reason or "the run stopped")

    def _told(self, cell: Cell) -> int:
        return int(self.done.get(_name(cell), [0])[0])

    def _open(self, cell: Cell) -> None:
        if cell not in self.open:
            held = self.tracker.open(self._trial(cell))
            self.open[cell] = max(held, self._told(cell))

    def _tell(self, cell: Cell, point: Point) -> None:
        self._open(cell)
        if point[0] > self.open[cell]:
            self.tracker.report(self._trial(cell), *point)
            self.open[cell] = point[0]

    def _close(self, cell: Cell, state: str, reason: str) -> None:
        self.tracker.close(self._trial(cell), state, reason)
        self.done[_name(cell)] = [self.open.pop(cell), state]
        settle(self.folder, self.tracker.place, self.done)

    def _trial(self, cell: Cell) -> TrackedTrial:
        return TrackedTrial(*cell, self.entrants[cell[0]].parameters)


def _name(cell: Cell) -> str:
    return f"{cell[0]}/fold_{cell[1]}"
