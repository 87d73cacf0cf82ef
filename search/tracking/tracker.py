"""What every tracker can do, and how the ones that a space asks for come about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from trainable.errors import UserError


@dataclass(frozen=True)
class TrackedTrial:
    """A fold trial as a tracker knows it: a run of its own, with the values of its config as parameters."""

    config: str
    fold: int
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.config}/fold_{self.fold}"


class Tracker(Protocol):
    """Methods may raise whatever the tracker's library does; none is called from the driver's own thread."""

    @property
    def place(self) -> str:
        """Where it writes to, without secrets."""
        ...

    def open(self, trial: TrackedTrial) -> int:
        """Find the fold trial's run there, or make it; the last step that it holds, 0 where there is none."""
        ...

    def report(self, trial: TrackedTrial, step: int, score: float, seconds: float, at: float) -> None:
        """Tell a point of a trial that is open; ``at`` is the clock when it was reported."""
        ...

    def close(self, trial: TrackedTrial, state: str, reason: str) -> None:
        """Tell how an open trial stands, done, paused or failed, and why; it may be opened again."""
        ...


def make_trackers(names: Sequence[str], folder: Path) -> list[Tracker]:
    """The trackers of a run; a library that is missing is an error, before anything is trained."""
    return [import_module(f"search.tracking.{name}").make(folder) for name in names]


def library(module: str, extra: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f'tracking: {extra}: its library is not installed ({error}): pip install "scribble-search[{extra}]"'
        ) from None
