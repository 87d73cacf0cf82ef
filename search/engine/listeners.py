"""Who hears of a run while it goes on, and what they are told at its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Listener = Callable[[str, Mapping[str, Any]], None]
Notify = Callable[[str], None]


@dataclass
class Outcome:
    """Why a run came to its end."""

    reason: str
    interrupted: bool = False
    budget_spent: bool = False
    more: str = ""  # the override that lets the run go on


def write_stderr(text: str) -> None:
    """By the system alone: a notice may come out of a signal handler, in the middle of somebody else's line."""
    os.write(2, f"\n{text}\n".encode())


@dataclass(frozen=True)
class Listeners:
    """Who hears of a run: ``tell`` what happens to each fold, ``notice`` what concerns the person at the terminal."""

    on_event: Listener
    notify: Notify = write_stderr


def broadcast(*watchers: Listener) -> Listener:
    """A watcher that tells several."""

    def tell(event: str, facts: Mapping[str, Any]) -> None:
        for watcher in watchers:
            watcher(event, facts)

    return tell
