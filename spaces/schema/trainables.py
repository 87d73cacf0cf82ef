"""What a fold trial may be, by the name that a space gives it, and how that checks its hyperparameters.

A new kind of fold trial is an entry here: the class of its configurations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, ValidationError

from spaces.yaml_file.rules import one_of, rule_of
from trainable.config import Config, describe


class ScriptedConfig(Config):
    """A configuration of the scripted fold trial: a real one, and beside it whatever the script wants to be told."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class Trainable:
    """A kind of fold trial; its configurations hold all types, ranges and defaults."""

    config: type[Config]
    needs_data: bool

    @property
    def free(self) -> bool:
        """Whether it takes hyperparameters that nobody declared."""
        return self.config.model_config.get("extra") == "allow"

    def knows(self, name: str) -> bool:
        return self.free or name in self.config.model_fields

    def broken_rule(self, name: str, value: Any) -> str | None:
        """Why this hyperparameter cannot have this value, if it cannot."""
        if not self.knows(name):
            return one_of(name, self.config.model_fields, "hyperparameter")
        if isinstance(value, float) and not math.isfinite(value):
            return "must be a finite number"
        try:
            taken = self._take(name, value)
        except ValidationError as error:
            return rule_of(error.errors()[0])
        if isinstance(value, bool) and not isinstance(taken, bool):  # pydantic reads true as 1
            return f"must be {next(row['allowed'] for row in describe() if row['name'] == name)}"
        return None

    def plain(self, name: str, value: Any) -> Any:
        """The value as a number or a name: ``none`` is no value where that can be, a size is WIDTHxHEIGHT."""
        if self.broken_rule(name, value):
            return None if value == "none" and not self.broken_rule(name, None) else value
        taken = self._take(name, value)
        if isinstance(taken, tuple):
            return "x".join(map(str, taken))
        return taken if isinstance(value, str) else value

    def _take(self, name: str, value: Any) -> Any:
        """What a configuration makes of this value."""
        return getattr(self.config.model_validate({name: value}), name)

    def default(self, name: str) -> Any:
        """What the hyperparameter is where a space does not say; None for one that nobody declared."""
        field = self.config.model_fields.get(name)
        return None if field is None else field.get_default()


TRAINABLES = {
    "fold": Trainable(Config, needs_data=True),
    "scripted": Trainable(ScriptedConfig, needs_data=False),
}
