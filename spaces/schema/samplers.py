"""The ``sampler`` section of a space: where configs come from."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field

from spaces.schema.schedulers import Section, from_name

COUNT = "number of configs; by default as many as the budget allows"


class GridSampler(Section):
    """Every config of the space, in order."""

    name: Literal["grid"] = "grid"


class RandomSampler(Section):
    """``count`` distinct configs drawn at random; by default as many as the budget allows."""

    name: Literal["random"] = "random"
    count: int | None = Field(None, ge=1, description=COUNT)
    seed: int = Field(0, ge=0, lt=2**32, description="the same seed gives the same configs")


def _no_password(url: str) -> str:
    """Refuse passwords, because the run folder contains the space and other people may read it."""
    if urlsplit(url).password:
        raise ValueError("must not contain a password: write $NAME, an environment variable that holds the whole URL")
    return url


class OptunaSampler(Section):
    """Configs that an Optuna sampler proposes from the scores so far."""

    name: Literal["tpe", "gp", "cmaes"]
    count: int | None = Field(None, ge=1, description=COUNT)
    seed: int = Field(0, ge=0, lt=2**32, description="the same seed and scores give the same configs")
    storage: Annotated[str, Field(min_length=1), AfterValidator(_no_password)] | None = Field(
        None,
        description="storage of Optuna's study; by default the run folder",
        json_schema_extra={"allowed": "an Optuna URL without a password, or $NAME of an environment variable"},
    )


Sampler = Annotated[GridSampler | RandomSampler | OptunaSampler, Discriminator("name"), BeforeValidator(from_name)]
