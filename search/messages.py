"""The values that a policy and its driver exchange; they have no behaviour."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Entrant:
    """A config as policies see it: its id, the steps at which it reports (the last is its horizon), its parameters.

    Entrants with the same steps form a block. Only configs of one block are compared before the horizon.
    """

    config: str
    steps: tuple[int, ...]
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def horizon(self) -> int:
        return self.steps[-1]

    def step_at(self, share: float) -> int:
        """The first report step at or after this share of the horizon."""
        return next(step for step in self.steps if step >= share * self.horizon - 1e-9)


@dataclass(frozen=True, slots=True)
class Job:
    """Train this fold of this config until this step, starting from its checkpoint if it has one."""

    config: str
    fold: int
    until: int


@dataclass(frozen=True, slots=True)
class Report:
    """One evaluation of a fold trial; higher scores are better.

    ``seconds`` is the total of the fold trial so far, and ``gpus`` the share of a GPU that it used since its last
    report (1 if there is no GPU). A fold trial that ends early sends one more report at its horizon: its last score
    if its patience ran out, NaN if it failed for good.
    """

    config: str
    fold: int
    step: int
    score: float
    seconds: float
    gpus: float = 1.0

    def record(self) -> dict[str, Any]:
        """The fields of its journal record, which omits a share of one whole GPU."""
        fields = asdict(self)
        if self.gpus == 1.0:
            del fields["gpus"]
        return fields


@dataclass(frozen=True, slots=True)
class Continue:
    """Keep training."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the job here. This only pauses the fold trial: its checkpoint stays, and it may be assigned again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """There is no job until one of the outstanding jobs reports."""


@dataclass(frozen=True, slots=True)
class Finished:
    """No job is left and none is outstanding; a config that is added later makes the policy continue."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The winner, and the configs it cannot be distinguished from (itself included), best first."""

    winner: str | None
    peers: tuple[str, ...]


Verdict: TypeAlias = Continue | Stop
Record: TypeAlias = Entrant | Job | Report
