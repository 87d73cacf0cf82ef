"""Listeners receive the events of a run; an outcome says why it ended."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Listener = Callable[[str, Mapping[str, Any]], None]
Notify = Callable[[str], None]


@dataclass
class Outcome:
    """Why a run ended; ``override`` is the setting that lets it continue after a spent budget."""

    reason: str
    interrupted: bool = False
    budget_spent: bool = False
    override: str = ""


def write_stderr(text: str) -> None:
    """Without buffers or locks: a signal handler may call this in the middle of another write."""
    os.write(2, f"\n{text}\n".encode())


@dataclass(frozen=True)
class Listeners:
    """``on_event`` receives what happens to each fold trial, ``notify`` messages for the person at the terminal."""

    on_event: Listener
    notify: Notify = write_stderr


def broadcast(*listeners: Listener) -> Listener:
    """One listener that passes each event to several."""

    def on_event(event: str, facts: Mapping[str, Any]) -> None:
        for listener in listeners:
            listener(event, facts)

    return on_event
