"""Following a journal while it grows: in the driver's terminal, and from any other."""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group

from search.engine.listeners import Notify
from search.runs.journal import Line, Tail
from search.runs.run_folder import Run
from search.runs.status import status_of
from search.terminal.live_view import LiveView, size_of
from search.terminal.plain_view import PlainView
from search.terminal.snapshot import Size, draw, take_snapshot
from trainable.errors import UserError
from trainable.exit_codes import INTERRUPTED
from trainable.printing import say, talk

FRAME = 0.25  # seconds between two frames of the driver's view
PATIENCE = 60.0  # seconds that a watcher waits for a relaunch after the driver died
PIPE = 120  # columns if the output is not a terminal


class RunView(Protocol):
    """Shows a run: the live view, or one line per event."""

    def __enter__(self) -> RunView: ...
    def __exit__(self, *error: object) -> None: ...
    def catch_up(self, lines: Sequence[Line]) -> None: ...
    def show(self, lines: Sequence[Line]) -> None: ...
    def set_driven(self, driven: bool) -> None: ...
    def notice(self, text: str) -> None: ...


@contextmanager
def show_run(run: Run, plain: bool = False) -> Iterator[Notify]:
    """Show a run while this process drives it, from a thread that reads the journal as any watcher does."""
    screen: RunView = LiveView(run, talk) if not plain and use_live_view(talk, os.environ) else PlainView()
    tail, over = Tail(run.journal), threading.Event()
    screen.catch_up(tail.read())

    def follow() -> None:
        try:
            while not over.wait(FRAME):
                screen.show(tail.read())
            screen.show(tail.read())
        except (UserError, OSError) as error:  # an error of the view must not stop the run
            say(f"the view of the run stopped: {error}")

    thread = threading.Thread(target=follow, name="view", daemon=True)
    with screen:
        thread.start()
        try:
            yield screen.notice
        finally:
            over.set()
            thread.join()
            screen.set_driven(False)


def watch(run: Run, interval: float, plain: bool, once: bool, arguments: Sequence[str]) -> int:
    """Follow a run from another process until it ends; returns the exit code."""
    console = Console(highlight=False)
    if once or not (plain or _interactive(console)):
        _print_once(run)
        return 0
    screen: RunView = PlainView(history=True) if plain else LiveView(run, console)
    try:
        _follow(run, screen, interval)
    except KeyboardInterrupt:
        say("\nThe run continues. To watch it again:")
        say(f"  python -m search {shlex.join(arguments)}")
        return INTERRUPTED
    run.refresh()
    status = status_of(run)
    say(f"{run.address}: {status.state}")
    say(f"Next: python -m search status {run.address}")
    return 0


def _follow(run: Run, screen: RunView, interval: float) -> None:
    """Follow a run until it ends, or until its driver has died and is not launched again within ``PATIENCE``."""
    tail = Tail(run.journal)
    driven, lines = run.driven, tail.read()  # in this order, so that a run that ends in between is seen to have ended
    screen.catch_up(lines)
    screen.set_driven(driven)
    ended, patience = _ended(lines, False), 0.0
    with screen:
        while driven or not ended:
            if driven:
                patience = time.monotonic() + PATIENCE
            elif time.monotonic() >= patience:
                return
            time.sleep(interval)
            driven = run.driven
            run.refresh()
            lines = tail.read()
            driven = driven or bool(lines)
            screen.set_driven(driven)
            screen.show(lines)
            ended = _ended(lines, ended)


def _ended(lines: Sequence[Line], before: bool) -> bool:
    return next((line.kind == "end" for line in reversed(lines) if line.kind in ("begin", "end")), before)


def _print_once(run: Run) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE)
    status = status_of(run)
    space = run.space()
    snapshot = take_snapshot(status, f"{run.name}, {space.settings.scheduler.name}")
    size = Size(console.width, console.height, size_of(console).glyphs)
    console.print(Group(*draw(snapshot, status.elapsed(time.time()), size)))


def use_live_view(console: Console, environment: Mapping[str, str]) -> bool:
    """Whether a launch shows the live view by default: on a terminal, unless CI or NO_COLOR is set."""
    return _interactive(console) and not any(environment.get(name) for name in ("CI", "NO_COLOR"))


def _interactive(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal
