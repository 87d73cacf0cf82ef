"""What the configs of all kinds of fold trials have in common: an id, conditions between values, report steps."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from trainable.config.conditions import unmet
from trainable.config.plugins.plugin import PLUGINS

UNSCORED = ("acceleration",)  # hyperparameters that do not decide a score
ALONE = "one value alone"  # context of a validation that does not look at the other hyperparameters


class TrialConfig(BaseModel):
    """One point of a space with all values set. Equal configs have equal ids."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    if TYPE_CHECKING:
        steps: int
        evaluations: int

    @property
    def id(self) -> str:
        """A hash of the canonical JSON of all that decides a score, short enough for a folder name."""
        values = self.model_dump(mode="json", exclude={*UNSCORED, PLUGINS})
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def has(self, name: str) -> bool:
        """Whether a hyperparameter exists beside the values of the others."""
        return unmet(type(self), name, vars(self)) is None

    def report_steps(self, until: int) -> list[int]:
        """The steps up to ``until`` at which a fold is evaluated: the same fractions of every horizon."""
        count = min(self.evaluations, self.steps)
        return [step for k in range(1, count + 1) if (step := round(k * self.steps / count)) <= until]

    @classmethod
    def left_out(cls, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a hyperparameter is not part of a dumped config, and so of its id."""
        return unmet(cls, name, values) is not None

    def contradictions(self) -> list[str]:
        """Values that do not go together, apart from hyperparameters that should not be there."""
        return []

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        fields = type(self).model_fields
        return {name: value for name, value in values.items() if name not in fields or not self.left_out(name, values)}

    @model_validator(mode="after")
    def _refuse_contradictions(self, info: ValidationInfo) -> Self:
        if info.context != ALONE:
            rules = [(name, unmet(type(self), name, vars(self))) for name in sorted(self.model_fields_set)]
            if problems := [f"{name}: {rule}" for name, rule in rules if rule] + self.contradictions():
                raise ValueError("; ".join(problems))
        return self
