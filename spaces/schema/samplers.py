"""What a space may say about its sampler: where configs come from."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field

from spaces.schema.schedulers import Strict, from_name

COUNT = "how many configs; without it, as many as the budget allows"


class GridSampler(Strict):
    """Every config of the space, in its order."""

    name: Literal["grid"] = "grid"


class RandomSampler(Strict):
    """``count`` different configs drawn at random; without it, as many as the budget allows."""

    name: Literal["random"] = "random"
    count: int | None = Field(None, ge=1, description=COUNT)
    seed: int = Field(0, ge=0, lt=2**32, description="same seed, same configs")


def _no_password(address: str) -> str:
    """A run's folder holds its space, and many may read it."""
    if urlsplit(address).password:
        raise ValueError("must hold no password: write $NAME, an environment variable with the whole address")
    return address


class OptunaSampler(Strict):
    """Configs proposed by what was seen so far; ``storage`` is any Optuna URL, the run folder by default."""

    name: Literal["tpe", "gp", "cmaes"]
    count: int | None = Field(None, ge=1, description=COUNT)
    seed: int = Field(0, ge=0, lt=2**32, description="same seed and same scores, same configs")
    storage: Annotated[str, Field(min_length=1), AfterValidator(_no_password)] | None = Field(
        None,
        description="of Optuna's study; the run's folder by default",
        json_schema_extra={"allowed": "an Optuna URL without a password, or $NAME of an environment variable"},
    )


Sampler = Annotated[GridSampler | RandomSampler | OptunaSampler, Discriminator("name"), BeforeValidator(from_name)]
