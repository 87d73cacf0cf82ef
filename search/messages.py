"""The words in which a policy and whoever drives it talk: plain values, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Entrant:
    """A config as a policy knows it: its id, the steps at which it reports (the last is its horizon), its
    parameters.

    Entrants with the same steps form a block: only they are compared before the end.
    """

    config: str
    steps: tuple[int, ...]
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def horizon(self) -> int:
        return self.steps[-1]

    def step_at(self, share: float) -> int:
        """The first report at or after this share of the horizon."""
        return next(step for step in self.steps if step >= share * self.horizon - 1e-9)


@dataclass(frozen=True, slots=True)
class Job:
    """Train this fold of this config until this step, from its checkpoint where it has one."""

    config: str
    fold: int
    until: int


@dataclass(frozen=True, slots=True)
class Report:
    """One evaluation of a fold trial; higher is better, and seconds are those of the fold trial so far, of which the
    latest were spent on so many ``gpus``: a share where fold trials share one, 1 where there is none.

    A fold that ends early (its patience ran out) or for good (it always crashes) is told by one more
    report: its standing score at the horizon, or NaN.
    """

    config: str
    fold: int
    step: int
    score: float
    seconds: float
    gpus: float = 1.0

    def record(self) -> dict[str, Any]:
        """As it stands in a journal, where a whole GPU goes without saying."""
        told = asdict(self)
        if self.gpus == 1.0:
            del told["gpus"]
        return told


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on training."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the job here. A stop is a pause: the checkpoint stays and the fold may be handed out again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until one of the jobs that are out reports."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing left to do, and no job is out; a config added later wakes the policy again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The config to take, and all that cannot be told from it (itself included), best first."""

    winner: str | None
    peers: tuple[str, ...]


Verdict: TypeAlias = Continue | Stop
Record: TypeAlias = Entrant | Job | Report
