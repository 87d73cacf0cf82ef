"""All sections of a space except its parameters, with their types and ranges."""

import math
import re
import shlex
from collections.abc import Collection
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from spaces.schema.samplers import GridSampler, Sampler
from spaces.schema.schedulers import Grid, Scheduler, Section, from_list, from_name
from spaces.schema.trainables import TRAINABLES
from spaces.yaml_file.problems import PASSWORD
from spaces.yaml_file.rules import one_of
from trainable.config import Plugin, extended, plugins_of, recorded
from trainable.errors import UserError
from trainable.objectives.metrics import METRICS

SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name.endswith("."):
        raise ValueError(
            "must be a folder name: at most 64 letters, digits, '-', '_' and '.', starting with a letter or digit"
        )
    return name


def _one_of_names(names: Collection[str], kind: str) -> AfterValidator:
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
        raise ValueError("must be auto, a fraction such as 0.25, or a whole number")
    return float(value)


def _positive(amount: Any) -> Any:
    if amount == 0:
        raise ValueError("must be greater than 0")
    return amount


def _read_plugins(value: Any) -> tuple[Plugin, ...]:
    try:
        plugins = plugins_of(value)
        extended(plugins)
    except UserError as problem:
        raise ValueError(str(problem)) from None
    return plugins


def _hook(hook: str) -> str:
    try:
        words = shlex.split(hook)
    except ValueError as error:
        raise ValueError(f"must be a command or a URL ({error})") from None
    if not words:
        raise ValueError("must be a command or a URL")
    if PASSWORD.search(hook):
        raise ValueError("must not contain a password: put the URL into the environment, and write on_end: $NAME")
    return hook


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else from_list(value)


Tracker = Literal["tensorboard", "mlflow", "wandb"]
TRACKERS: tuple[str, ...] = get_args(Tracker)
Amount = Annotated[Literal["auto"] | float, BeforeValidator(_amount)]
AMOUNT: dict[str, Any] = {"allowed": "auto, a fraction such as 0.25, or a whole number"}


class Metric(Section):
    name: str = Field(
        default="miou",
        pattern=r"^\w[\w.-]*$",
        description="score that configs are compared by",
        json_schema_extra={
            "allowed": f"{', '.join(METRICS)}; with other classes iou_CLASS; of three or more also "
            "dice_CLASS; with volumes dice_volume, dice_volume_CLASS"
        },
    )
    goal: Literal["maximize", "minimize"] = Field(
        default="maximize",
        description="whether higher or lower scores are better; minimize is for fold trials with scores of their own",
    )


class Reference(Section):
    """Published figures; ``where`` names the configs of the space that are to be held beside them."""

    source: str = Field(
        min_length=1, description="the text that the figures are from", json_schema_extra={"allowed": "text"}
    )
    where: dict[str, Any] = Field(
        {},
        description="the configs that the figures are compared with, all by default; the best of them is shown",
        json_schema_extra={"allowed": "{NAME: value or list, ...}"},
    )
    scores: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        min_length=1, description="the figures", json_schema_extra={"allowed": "{METRIC: number from 0 to 1, ...}"}
    )
    note: str = Field(
        "", description="why they may differ from this run's figures", json_schema_extra={"allowed": "text"}
    )


class Budget(Section):
    """Limits that end a run early; ``wall`` is in seconds, ``trials`` counts fold trials."""

    gpu_hours: float | None = Field(default=None, gt=0, description="the run ends after this many GPU-hours")
    wall: Annotated[float | None, BeforeValidator(_seconds)] = Field(
        default=None,
        gt=0,
        description="a launch ends after this time; the next launch resumes the run",
        json_schema_extra={"allowed": "12h, 90m, 1d, 1h30m, or seconds > 0"},
    )
    trials: int | None = Field(
        default=None,
        ge=1,
        description="the run ends after starting this many fold trials; those that are paused then stay paused",
    )
    cost_per_gpu_hour: float | None = Field(default=None, ge=0, description="for cost estimates, in any currency")

    @property
    def ends(self) -> bool:
        return any(limit is not None for limit in (self.gpu_hours, self.wall, self.trials))


class Resources(Section):
    """What one fold trial gets; a fraction shares a GPU between fold trials."""

    gpu: Amount = Field(
        default="auto",
        description="GPUs per fold trial; auto measures how many fold trials fit on one GPU",
        json_schema_extra=AMOUNT,
    )
    cpu: Annotated[Amount, AfterValidator(_positive)] = Field(
        default="auto", description="cores per fold trial; auto divides the available cores", json_schema_extra=AMOUNT
    )


class Settings(Section):
    name: Annotated[str, AfterValidator(_folder_name)] = Field(description="name of the run and its folder in --runs")
    data: str | None = Field(None, min_length=1, description="folder of the data set, or s3://bucket/folder")
    validation: str | None = Field(
        None, min_length=1, description="a labelled split that finished models are also scored on, never selected by"
    )
    folds: int = Field(5, ge=2, description="number of folds; each is held out once")
    fold_seed: int = Field(0, ge=0, description="seed of the split into folds")
    metric: Annotated[Metric, BeforeValidator(from_name)] = Metric()
    sampler: Sampler = Field(GridSampler(), description="where configs come from")
    scheduler: Scheduler = Field(Grid(), description="policy that prunes and promotes")
    budget: Budget = Budget()
    resources: Resources = Resources()
    tracking: Annotated[tuple[Tracker, ...], BeforeValidator(_as_tuple)] = Field(
        (), description="trackers that log each fold trial as a run", json_schema_extra={"allowed": ", ".join(TRACKERS)}
    )
    keep: Literal["winners", "race", "all"] = Field(
        "race",
        description="whose weights stay when the search is over: all; race, those of configs with all folds; winners, "
        "those of the winner and its peers: see docs/keeping.md",
        json_schema_extra={"allowed": "winners, race, all"},
    )
    keep_probabilities: bool = Field(
        False,
        description="keep the probabilities of held-out images for analysis refine, in a run on a disk",
        json_schema_extra={"allowed": "true, false"},
    )
    on_end: Annotated[str | None, AfterValidator(_hook)] = Field(
        None,
        description="a command, or a URL, that gets the outcome of every launch as JSON",
        json_schema_extra={"allowed": "a command, http://..., https://... or $NAME of the environment"},
    )
    references: Annotated[tuple[Reference, ...], BeforeValidator(from_list)] = Field(
        (),
        description="published figures that the report shows beside this run's; no decision depends on them",
        json_schema_extra={"allowed": "a list of {source, where, scores, note}"},
    )
    trainable: Annotated[str, _one_of_names(TRAINABLES, "trainable")] = Field(
        "fold",
        description="what a fold trial does: fold trains a network, image segments single images by a method, scripted "
        "replays a script, to try out a search",
        json_schema_extra={"allowed": ", ".join(TRAINABLES)},
    )
    plugins: Annotated[tuple[Plugin, ...], BeforeValidator(_read_plugins), PlainSerializer(recorded)] = Field(
        (),
        description="Python files that add networks, losses and recipes; reading the space executes them",
        json_schema_extra={"allowed": "a file such as my_parts.py, or a list of them"},
    )
