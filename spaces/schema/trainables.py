"""The kinds of fold trials that a space can name, and how each checks its hyperparameters.

To add a kind of fold trial, add an entry to ``TRAINABLES`` with the class of its configs.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ConfigDict, ValidationError

from spaces.yaml_file.rules import one_of, rule_of
from trainable.config import ALONE, Config, ImageConfig, Plugin, TrialConfig, as_written, describe, extended


class ScriptedConfig(Config):
    """A config of the scripted fold trial: the usual hyperparameters and any others that the script reads."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class Trainable:
    """A kind of fold trial; its config class declares all types, ranges and defaults."""

    config: type[TrialConfig]
    needs_data: bool
    scored: str = "at the working size by the last weights"  # what the score of a fold is
    results: tuple[str, ...] = ()  # the files that every finished fold has, the one that models are made of first
    weights: tuple[str, ...] = ()  # the files that can be dropped once nobody needs to resume or to predict
    learns: bool = True  # whether a step trains; otherwise it is a share of the images that the fold holds out
    own_scores: bool = False  # whether it reports scores of any name and scale, not a metric of masks

    @property
    def open_ended(self) -> bool:
        """Whether it accepts undeclared hyperparameters."""
        return self.config.model_config.get("extra") == "allow"

    def has(self, name: str) -> bool:
        return self.open_ended or name in self.config.model_fields

    def broken_rule(self, name: str, value: Any) -> str | None:
        """The rule that this value breaks, or None if the hyperparameter can have it."""
        if not self.has(name):
            return one_of(name, self.config.model_fields, "hyperparameter")
        if isinstance(value, float) and not math.isfinite(value):
            return "must be a finite number"
        try:
            parsed = self._parse(name, value)
        except ValidationError as error:
            return rule_of(error.errors()[0])
        if isinstance(value, bool) and not isinstance(parsed, bool):  # pydantic reads true as 1
            return f"must be {next(row['allowed'] for row in describe(self.config) if row['name'] == name)}"
        return None

    def normalize(self, name: str, value: Any) -> Any:
        """The value as usually written: ``none`` as None where allowed, a size as WIDTHxHEIGHT, weights as 1,3."""
        if value == "none" and name in self.config.model_fields and not self.broken_rule(name, None):
            return None
        if self.broken_rule(name, value):
            return value
        parsed = self._parse(name, value)
        if isinstance(parsed, tuple):
            return as_written(name, parsed)
        return parsed if isinstance(value, str) else value

    def _parse(self, name: str, value: Any) -> Any:
        """The value after pydantic has parsed it."""
        return getattr(self.config.model_validate({name: value}, context=ALONE), name)

    def default(self, name: str) -> Any:
        """The hyperparameter's default; None if it is undeclared."""
        field = self.config.model_fields.get(name)
        return None if field is None else field.get_default()


TRAINABLES = {
    "fold": Trainable(
        Config,
        needs_data=True,
        results=("best.pt", "scores.json", "images.parquet"),
        weights=("best.pt", "last.pt", "previous.pt", "next.pt"),
    ),
    "image": Trainable(
        ImageConfig,
        needs_data=True,
        scored="at the images' own sizes",
        learns=False,
        results=("scores.json", "images.parquet", "results.jsonl"),
    ),
    "scripted": Trainable(
        ScriptedConfig, needs_data=False, results=("last.json",), weights=("last.json",), own_scores=True
    ),
}
PLUGGABLE = "fold"  # the kind that plugins add to


def trainable_of(name: str, plugins: tuple[Plugin, ...]) -> Trainable:
    """A kind of fold trial, with what plugins add to its configs."""
    kind = TRAINABLES[name]
    return replace(kind, config=extended(plugins)) if plugins and name == PLUGGABLE else kind
