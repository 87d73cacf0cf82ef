"""The ``scheduler`` section of a space: which policy prunes, and its settings."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field


class Section(BaseModel):
    """A section of a space: immutable, without unknown keys, and without conversion between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def from_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def from_name(value: Any) -> Any:
    """``grid`` is short for ``{name: grid}``."""
    return {"name": value} if isinstance(value, str) else value


def _increasing(rungs: tuple[float, ...]) -> tuple[float, ...]:
    if not all(low < high for low, high in pairwise(rungs)):
        raise ValueError("must increase")
    return rungs


def _not_increasing(quotas: tuple[int, ...]) -> tuple[int, ...]:
    if not all(high >= low for high, low in pairwise(quotas)):
        raise ValueError("must not increase: each quota is taken from the one before it")
    return quotas


Fraction = Annotated[float, Field(gt=0, lt=1)]
Rungs = Annotated[tuple[Fraction, ...], BeforeValidator(from_list), AfterValidator(_increasing)]
Quotas = Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_not_increasing), Field(min_length=1)]


RUNGS = "fractions of the horizon at which the scheduler decides"
INCREASING: dict[str, Any] = {"allowed": "increasing fractions, each above 0 and below 1"}


class Grid(Section):
    """Every config on every fold."""

    name: Literal["grid"] = "grid"


class Asha(Section):
    """Asynchronous halving: one config in ``reduction`` is promoted from each rung of the first fold."""

    name: Literal["asha"] = "asha"
    rungs: Rungs = Field((0.25, 0.5), min_length=1, description=RUNGS, json_schema_extra=INCREASING)
    reduction: float = Field(2.0, gt=1, description="one config in this many is promoted from each rung")


class Halving(Section):
    """Fold by fold: ``quotas`` are the numbers of configs that train the second, third, ... fold."""

    name: Literal["halving"] = "halving"
    quotas: Annotated[Quotas | None, BeforeValidator(from_list)] = Field(
        None,
        description="number of configs that train the second, third, ... fold; by default 1/3, 1/9, 1/18 of all",
        json_schema_extra={"allowed": "whole numbers that do not increase"},
    )


class FoldRace(Section):
    """A config continues while it is among the best ``keep`` at each rung and ``delta`` does not rule it out."""

    name: Literal["foldrace"] = "foldrace"
    rungs: Rungs = Field((0.5, 0.625, 0.75, 0.875), description=RUNGS, json_schema_extra=INCREASING)
    keep: float = Field(0.83, gt=0, le=1, description="fraction of configs promoted from each rung of the first fold")
    # no config has a chance above one half against the leader
    delta: float = Field(0.1, gt=0, lt=0.5, description="limit on the total chance to win of all paused configs")
    stratify: str | None = Field(
        None, description="a parameter; keep applies to each of its values, and the best config of each continues"
    )


Scheduler = Annotated[Grid | Asha | Halving | FoldRace, Discriminator("name"), BeforeValidator(from_name)]
