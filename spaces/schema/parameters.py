"""The parameters of a space: a constant, a choice or a range, each perhaps only under a condition."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Condition = Mapping[str, tuple[Any, ...]]  # a parameter's name: the values with which it holds
Distribution = Literal["uniform", "log_uniform", "int"]


@dataclass(frozen=True)
class Choice:
    """One of some values; a numeric order between them means nothing."""

    name: str
    values: tuple[Any, ...]
    when: Condition = field(default_factory=dict)

    def sample(self, rng: random.Random) -> Any:
        return rng.choice(self.values)

    def takes(self, value: Any) -> bool:
        return among(value, self.values)

    def canonical(self) -> dict[str, Any]:
        return {"values": list(self.values)} | _canonical_when(self.when)

    def __str__(self) -> str:
        return ", ".join("none" if value is None else str(value) for value in self.values)


@dataclass(frozen=True)
class Range:
    """Any number from ``low`` to ``high``, both included; whole ones if the distribution is int."""

    name: str
    low: float
    high: float
    distribution: Distribution = "uniform"
    log: bool = False  # even on a logarithmic scale; always so for log_uniform
    when: Condition = field(default_factory=dict)

    def sample(self, rng: random.Random) -> float:
        whole = self.distribution == "int"
        low, high = (self.low, self.high + 1) if whole else (self.low, self.high)
        scaled = rng.uniform(*((math.log(low), math.log(high)) if self.log else (low, high)))
        value = math.exp(scaled) if self.log else scaled
        return min(max(math.floor(value) if whole else value, self.low), self.high)

    def takes(self, value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (self.distribution != "int" or value == int(value))

    def canonical(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"min": self.low, "max": self.high, "distribution": self.distribution}
        if self.distribution == "int" and self.log:
            shape["log"] = True
        return shape | _canonical_when(self.when)

    def __str__(self) -> str:
        kind = {"uniform": "", "log_uniform": ", even on a log scale", "int": ", whole numbers"}[self.distribution]
        return (
            f"{self.low:g} to {self.high:g}{kind}{' on a log scale' if self.distribution == 'int' and self.log else ''}"
        )


Parameter = Choice | Range


def among(value: Any, values: tuple[Any, ...]) -> bool:
    """Whether a value is one of these; 3 and 3.0 are the same, 1 and true are not."""
    return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in values)


def holds(condition: Condition, config: Mapping[str, Any]) -> bool:
    return all(among(config.get(name), values) for name, values in condition.items())


def canonical_condition(condition: Condition) -> dict[str, Any]:
    return {name: list(values) for name, values in condition.items()}


def _canonical_when(condition: Condition) -> dict[str, Any]:
    return {"when": canonical_condition(condition)} if condition else {}
