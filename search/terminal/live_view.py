"""The live view: the state of a run, redrawn in place on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from search.runs.journal import Line
from search.runs.run_folder import Run
from search.runs.status import new_status
from search.terminal.glyphs import ASCII, UNICODE
from search.terminal.plain_view import describe
from search.terminal.snapshot import Size, Snapshot, draw, take_snapshot

SHARE = 0.04  # of a core that taking snapshots may use


class LiveView:
    """Shows the records of a journal; must be used by a single thread, except for ``notice``."""

    def __init__(self, run: Run, console: Console, clock: Callable[[], float] = time.time) -> None:
        self.console, self.clock = console, clock
        self._space = run.space()
        self._title = f"{run.name}, {self._space.settings.scheduler.name}"
        self._status = new_status(self._space)
        self._live = Live(
            console=console, auto_refresh=False, vertical_overflow="crop", redirect_stdout=sys.stdout.isatty()
        )
        self._notice = ""
        self._snapshot: Snapshot | None = None
        self._size: Size | None = None
        self._due = 0.0  # earliest time of the next snapshot, by this process's clock
        self._new = True
        self._frame: list[Text] = []

    def __enter__(self) -> LiveView:
        self._live.start()
        self._draw(at_once=True)
        return self

    def __exit__(self, *error: object) -> None:
        """The last frame stays on the screen."""
        self._draw(at_once=True)
        self._live.stop()

    def catch_up(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._note(line)

    def show(self, lines: Sequence[Line]) -> None:
        """Faults are also printed above the view, where they stay."""
        for line in lines:
            self._note(line)
            if line.kind == "fault":
                self.console.print(describe(line), markup=False, style="red")
        self._draw()

    def set_driven(self, driven: bool) -> None:
        self._new |= driven != self._status.driven
        self._status.set_driven(driven)

    def notice(self, text: str) -> None:
        """Shown with the next frame, because this may be called from a signal handler, which cannot draw."""
        self._notice = text

    def _note(self, line: Line) -> None:
        if line.number == 1:  # a new or rebuilt journal
            self._status = new_status(self._space)
        self._status.note(line)
        self._new = True

    def _draw(self, at_once: bool = False) -> None:
        size = size_of(self.console)
        if self._snapshot is None or at_once or (size != self._size) or (self._new and time.monotonic() >= self._due):
            began = time.thread_time()
            self._snapshot, self._size, self._new = take_snapshot(self._status, self._title, size.configs), size, False
            self._due = time.monotonic() + (time.thread_time() - began) / SHARE
        frame = draw(
            self._snapshot, self._status.elapsed(self.clock()), size, "" if self._status.ended else self._notice
        )
        if frame != self._frame:
            self._frame = frame
            self._live.update(Group(*frame), refresh=True)


def size_of(console: Console) -> Size:
    simple = console.options.ascii_only or os.environ.get("TERM") == "linux"
    return Size(console.width, console.height, ASCII if simple else UNICODE)
