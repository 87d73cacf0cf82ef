"""What a space may say about its scheduler: which policy decides what goes on, and how strict it is."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field


class Strict(BaseModel):
    """A section of a space: a value, without unknown keys, and with no type read as another."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def from_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def from_name(value: Any) -> Any:
    """``grid`` is short for ``{name: grid}``."""
    return {"name": value} if isinstance(value, str) else value


def _rising(rungs: tuple[float, ...]) -> tuple[float, ...]:
    if not all(low < high for low, high in pairwise(rungs)):
        raise ValueError("must rise")
    return rungs


def _falling(quotas: tuple[int, ...]) -> tuple[int, ...]:
    if not all(high >= low for high, low in pairwise(quotas)):
        raise ValueError("must not rise: each quota is taken from the one before it")
    return quotas


Fraction = Annotated[float, Field(gt=0, lt=1)]
Rungs = Annotated[tuple[Fraction, ...], BeforeValidator(from_list), AfterValidator(_rising)]
Quotas = Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_falling), Field(min_length=1)]


RUNGS = "shares of the horizon at which fold trials are judged"
RISING: dict[str, Any] = {"allowed": "rising shares, each above 0 and below 1"}


class Grid(Strict):
    """Every config on every fold."""

    name: Literal["grid"] = "grid"


class Asha(Strict):
    """Asynchronous halving: one config in ``reduction`` climbs from each rung of the first fold to the next."""

    name: Literal["asha"] = "asha"
    rungs: Rungs = Field((0.25, 0.5), min_length=1, description=RUNGS, json_schema_extra=RISING)
    reduction: float = Field(2.0, gt=1, description="one config in so many climbs from each rung to the next")


class Halving(Strict):
    """Fold after fold; ``quotas`` says how many configs train the second, the third, ... fold.

    Without them it is a third of all, a ninth, then an eighteenth.
    """

    name: Literal["halving"] = "halving"
    quotas: Annotated[Quotas | None, BeforeValidator(from_list)] = Field(
        None,
        description="configs that train the second, third, ... fold; by default a third, a ninth, an eighteenth",
        json_schema_extra={"allowed": "whole numbers that do not rise"},
    )


class FoldRace(Strict):
    """A config goes on while it is in the best ``keep`` at the rungs and its chance to win is at least ``delta``."""

    name: Literal["foldrace"] = "foldrace"
    rungs: Rungs = Field((0.5,), description=RUNGS, json_schema_extra=RISING)
    keep: float = Field(0.6, gt=0, le=1, description="share that goes on from each rung of the first fold")
    # nobody's chance against the leader is above one half
    delta: float = Field(0.05, gt=0, lt=0.5, description="chance to win of all that are dropped, together, at most")
    stratify: str | None = Field(None, description="a parameter; keep holds for each of its values apart")


Scheduler = Annotated[Grid | Asha | Halving | FoldRace, Discriminator("name"), BeforeValidator(from_name)]
