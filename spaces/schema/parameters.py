"""The searched parameters of a space: choices and ranges, each with an optional condition."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainable.printing import value_text

Condition = Mapping[str, tuple[Any, ...]]  # a parameter's name: the values that meet the condition
Distribution = Literal["uniform", "log_uniform", "int"]


@dataclass(frozen=True)
class Choice:
    """One of a list of values; their order has no meaning, even if they are numbers."""

    name: str
    values: tuple[Any, ...]
    when: Condition = field(default_factory=dict)

    def sample(self, rng: random.Random) -> Any:
        return rng.choice(self.values)

    def allows(self, value: Any) -> bool:
        return is_among(value, self.values)

    def canonical(self) -> dict[str, Any]:
        return {"values": list(self.values)} | _canonical_when(self.when)

    def __str__(self) -> str:
        return ", ".join(value_text(value) for value in self.values)


@dataclass(frozen=True)
class Range:
    """Any number from ``low`` to ``high``, both included; whole numbers if the distribution is int."""

    name: str
    low: float
    high: float
    distribution: Distribution = "uniform"
    log: bool = False  # uniform on a log scale; always true for log_uniform
    when: Condition = field(default_factory=dict)

    def sample(self, rng: random.Random) -> float:
        whole = self.distribution == "int"
        low, high = (self.low, self.high + 1) if whole else (self.low, self.high)
        scaled = rng.uniform(*((math.log(low), math.log(high)) if self.log else (low, high)))
        value = math.exp(scaled) if self.log else scaled
        return min(max(math.floor(value) if whole else value, self.low), self.high)

    def allows(self, value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (self.distribution != "int" or value == int(value))

    def canonical(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"min": self.low, "max": self.high, "distribution": self.distribution}
        if self.distribution == "int" and self.log:
            shape["log"] = True
        return shape | _canonical_when(self.when)

    def __str__(self) -> str:
        kind = {"uniform": "", "log_uniform": ", log-uniform", "int": ", whole numbers"}[self.distribution]
        scale = " on a log scale" if self.distribution == "int" and self.log else ""
        return f"{self.low:g} to {self.high:g}{kind}{scale}"


Parameter = Choice | Range


def is_among(value: Any, values: tuple[Any, ...]) -> bool:
    """Whether the value is one of ``values``; 3 equals 3.0, but 1 does not equal true."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values)


def holds(condition: Condition, config: Mapping[str, Any]) -> bool:
    return all(is_among(config.get(name), values) for name, values in condition.items())


def canonical_condition(condition: Condition) -> dict[str, Any]:
    return {name: list(values) for name, values in condition.items()}


def _canonical_when(condition: Condition) -> dict[str, Any]:
    return {"when": canonical_condition(condition)} if condition else {}
