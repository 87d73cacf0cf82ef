"""The interface of trackers, and the trackers that a space names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from trainable.errors import UserError


@dataclass(frozen=True)
class TrackedTrial:
    """A fold trial, which is one run in a tracker, with the values of its config as parameters."""

    config: str
    fold: int
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.config}/fold_{self.fold}"


class Tracker(Protocol):
    """Methods may raise any error of the tracker's library; they are called from a background thread."""

    @property
    def location(self) -> str:
        """Where the tracker writes, without secrets."""
        ...

    def open(self, trial: TrackedTrial) -> int:
        """Find or create the run of a fold trial, and return its last logged step, or 0."""
        ...

    def report(self, trial: TrackedTrial, step: int, score: float, seconds: float, at: float) -> None:
        """Log a point of an open trial; ``at`` is the time at which it was reported."""
        ...

    def close(self, trial: TrackedTrial, state: str, reason: str) -> None:
        """Log the state of an open trial (done, paused or failed) and the reason; it may be opened again."""
        ...


def make_trackers(names: Sequence[str], folder: Path) -> list[Tracker]:
    """The trackers of a run; a missing library is an error before anything is trained."""
    return [import_module(f"search.tracking.{name}").make(folder) for name in names]


def library(module: str, extra: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f'tracking: {extra}: its library is not installed ({error}): pip install "scribble-search[{extra}]"'
        ) from None
