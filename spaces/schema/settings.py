"""Everything that a space says besides its parameters, with types and ranges."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from spaces.schema.samplers import GridSampler, Sampler
from spaces.schema.schedulers import Grid, Scheduler, Strict, from_list
from spaces.schema.trainables import TRAINABLES
from spaces.yaml_file.document import Document
from spaces.yaml_file.rules import one_of, rule_of
from trainable.objectives.metrics import METRICS

SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
PARTS = ("parameters", "forbid")  # read beside the settings, because their rules come from the trainable


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name.endswith("."):
        raise ValueError(
            "names the run's folder: at most 64 letters, digits, '-', '_' and '.', a letter or digit first"
        )
    return name


def _known(names: Collection[str], kind: str) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(one_of(name, names, kind))
        return name

    return AfterValidator(check)


def _seconds(value: Any) -> Any:
    """Read "12h", "1d", "1h30m" or a number of seconds."""
    if not isinstance(value, str):
        return value
    number = r"(\d+(?:\.\d+)?)\s*([dhms])\s*"
    if not re.fullmatch(f"({number})+", value, re.ASCII):
        raise ValueError("must be a time such as 12h, 90m, 1d or 1h30m, or a number of seconds")
    return float(sum(float(count) * SECONDS[unit] for count, unit in re.findall(number, value)))


def _amount(value: Any) -> Any:
    if value == "auto":
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (value > 1 and value != int(value)):
        raise ValueError("must be auto, a share such as 0.25, or a whole number")
    return float(value)


def _some(amount: Any) -> Any:
    if amount == 0:
        raise ValueError("must be more than 0")
    return amount


def _from_word(value: Any) -> Any:
    return (value,) if isinstance(value, str) else from_list(value)


Tracker = Literal["tensorboard", "mlflow", "wandb"]
TRACKERS: tuple[str, ...] = get_args(Tracker)
Amount = Annotated[Literal["auto"] | float, BeforeValidator(_amount)]
SHARE: dict[str, Any] = {"allowed": "auto, a share such as 0.25, or a whole number"}


class Metric(Strict):
    name: Annotated[str, _known(METRICS, "metric")] = Field(
        default="miou", description="what configs are compared by", json_schema_extra={"allowed": ", ".join(METRICS)}
    )
    # every metric of the project is the better, the larger it is
    goal: Literal["maximize"] = Field(default="maximize", description="which way is better")


class Budget(Strict):
    """Where a run ends whatever is left to do; ``wall`` is in seconds, ``trials`` counts fold trials."""

    gpu_hours: float | None = Field(
        default=None, gt=0, description="the run ends when its fold trials have taken so much"
    )
    wall: Annotated[float | None, BeforeValidator(_seconds)] = Field(
        default=None,
        gt=0,
        description="a launch ends after this time; the next one goes on",
        json_schema_extra={"allowed": "12h, 90m, 1d, 1h30m, or seconds > 0"},
    )
    trials: int | None = Field(default=None, ge=1, description="the run ends when so many fold trials were begun")
    cost_per_gpu_hour: float | None = Field(default=None, ge=0, description="for the plan's cost, in any currency")

    @property
    def ends(self) -> bool:
        return any(limit is not None for limit in (self.gpu_hours, self.wall, self.trials))


class Resources(Strict):
    """What one fold trial gets; a GPU may be shared by giving a fraction, and auto measures how many fit."""

    gpu: Amount = Field(
        default="auto",
        description="GPUs of a fold trial; auto measures how many fold trials fit on one",
        json_schema_extra=SHARE,
    )
    cpu: Annotated[Amount, AfterValidator(_some)] = Field(
        default="auto", description="cores of a fold trial; auto shares out what there is", json_schema_extra=SHARE
    )


class Settings(Strict):
    name: Annotated[str, AfterValidator(_folder_name)] = Field(description="of the run, and of its folder under --runs")
    data: str | None = Field(None, min_length=1, description="a data set's folder, or s3://bucket/folder")
    folds: int = Field(5, ge=2, description="parts that the images are dealt into; each is held out once")
    fold_seed: int = Field(0, ge=0, description="which deal")
    metric: Metric = Metric()
    sampler: Sampler = Field(GridSampler(), description="where configs come from")
    scheduler: Scheduler = Field(Grid(), description="which fold trials go on")
    budget: Budget = Budget()
    resources: Resources = Resources()
    tracking: Annotated[tuple[Tracker, ...], BeforeValidator(_from_word)] = Field(
        (), description="makes a run of each fold trial there", json_schema_extra={"allowed": ", ".join(TRACKERS)}
    )
    trainable: Annotated[str, _known(TRAINABLES, "trainable")] = Field(
        "fold",
        description="what a fold trial does; scripted ones only follow a script, to try a search out",
        json_schema_extra={"allowed": ", ".join(TRAINABLES)},
    )


def _variants(union: Any) -> dict[str, type[Strict]]:
    """The sections of an annotated union, by every name that chooses one."""
    sections: tuple[type[Strict], ...] = get_args(get_args(union)[0])
    return {name: section for section in sections for name in get_args(section.model_fields["name"].annotation)}


VARIANTS = {"sampler": _variants(Sampler), "scheduler": _variants(Scheduler)}


def read_settings(document: Document) -> tuple[Settings, set[str]]:
    """The settings of a document and the sections that were wrong, which have been noted and are as if left out.

    A key without a value is left out too.
    """
    told = {key: value for key, value in document.tree.items() if value is not None and key not in PARTS}
    try:
        return Settings.model_validate(told), set()
    except ValidationError as error:
        for problem in error.errors():
            _refuse(document, problem)
        wrong = {str(problem["loc"][0]) for problem in error.errors()}
    right = {key: value for key, value in told.items() if key not in wrong}
    return Settings.model_validate({"name": "unnamed", **right}), wrong


def _refuse(document: Document, problem: Any) -> None:
    section, *rest = problem["loc"]
    variant = rest.pop(0) if section in VARIANTS and rest else None  # pydantic tells which of the union it tried
    path = [section, *rest]
    if problem["type"] == "extra_forbidden":
        document.refuse(path, _unknown_key(path, variant))
    elif problem["type"] == "union_tag_invalid":
        bare = not isinstance(problem["input"], dict) or isinstance(document.tree[section], str)
        tag = problem["ctx"]["tag"]
        document.refuse(path if bare else [*path, "name"], one_of(tag, VARIANTS[section], section))
    elif problem["type"] == "union_tag_not_found":
        document.refuse([*path, "name"], f"is required: {', '.join(VARIANTS[section])}")
    elif problem["type"] == "model_attributes_type":
        document.refuse(path, f"must be a name or a mapping with a name: {', '.join(VARIANTS[section])}")
    else:
        document.refuse(path, rule_of(problem))


def _unknown_key(path: Sequence[Any], variant: str | None) -> str:
    section = path[0]
    if len(path) == 1:
        return one_of(section, [*Settings.model_fields, *PARTS], "key")
    if variant:
        return one_of(path[-1], VARIANTS[section][variant].model_fields, f"key of {section} {variant}")
    model: Any = Settings.model_fields[section].annotation
    return one_of(path[-1], model.model_fields, f"key of {section}")
