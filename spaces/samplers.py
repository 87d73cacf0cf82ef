"""What a space may say about its sampler: where configs come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field

from spaces.schedulers import Strict, from_name


class GridSampler(Strict):
    """Every config of the space, in its order."""

    name: Literal["grid"] = "grid"


class RandomSampler(Strict):
    """``count`` different configs drawn at random; without it, as many as the budget allows."""

    name: Literal["random"] = "random"
    count: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)


class OptunaSampler(Strict):
    """Configs proposed by what was seen so far; ``storage`` is any Optuna URL, the run folder by default."""

    name: Literal["tpe", "gp", "cmaes"]
    count: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)
    storage: str | None = Field(None, min_length=1)


Sampler = Annotated[GridSampler | RandomSampler | OptunaSampler, Discriminator("name"), BeforeValidator(from_name)]
