"""Read ``parameters`` and ``forbid``: every value is checked against the trainable that will be given it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from spaces.schema.parameters import Choice, Condition, Parameter, Range, among
from spaces.schema.trainables import Trainable
from spaces.yaml_file.document import Document
from spaces.yaml_file.problems import MISSING, Path, shown
from spaces.yaml_file.rules import one_of
from trainable.errors import did_you_mean

PART = "parameters"
KEYS = ("values", "min", "max", "distribution", "log", "when")
MOST_VALUES = 1_000
DISTRIBUTIONS: dict[str, Any] = {name: name for name in ("uniform", "log_uniform", "int")} | {"int_uniform": "int"}


@dataclass
class Parameters:
    """What a document says of its parameters, as far as it could be read."""

    document: Document
    trainable: Trainable
    constants: dict[str, Any] = field(default_factory=dict)
    searched: dict[str, Parameter] = field(default_factory=dict)
    forbid: list[Condition] = field(default_factory=list)

    def read(self) -> None:
        told = self.document.find([PART])
        if not isinstance(told, dict):
            self.document.refuse([PART], "is required" if told in (MISSING, None) else "must be a mapping of names")
            return
        for name, spec in told.items():
            self._read_one(name, spec)
        for name, spec in told.items():
            if name in self.searched and spec.get("when") is not None:
                when = self._read_condition((PART, name, "when"))
                self.searched[name] = replace(self.searched[name], when=when)
        self._put_in_order()
        forbidden = self.document.find(["forbid"])
        if isinstance(forbidden, list):
            self.forbid = [self._read_condition(("forbid", place)) for place in range(len(forbidden))]
        elif forbidden not in (MISSING, None):
            self.document.refuse(["forbid"], "must be a list of what goes ill together, as in [{loss: dice, pc: 1}]")

    def _read_one(self, name: str, spec: Any) -> None:
        path = (PART, name)
        if not self.trainable.knows(name):
            self.document.refuse(path, one_of(name, self.trainable.config.model_fields, "hyperparameter"))
        elif isinstance(self.trainable.plain(name, spec), list):
            self.document.refuse(path, f"must be a value, or {{values: {shown(spec)}}}")
        elif not isinstance(spec, dict):
            self.constants[name] = self._read_value(path, name, spec)
        else:
            for key in spec.keys() - set(KEYS):
                self.document.refuse((*path, key), one_of(key, KEYS, "key of a parameter"))
            numeric = [key for key in ("min", "max", "distribution", "log") if key in spec]
            if "values" in spec and numeric:
                self.document.refuse(path, f"has values, so it cannot have {' or '.join(numeric)}")
            elif "values" in spec:
                self._read_choice(path, name, spec["values"])
            elif "min" in spec and "max" in spec:
                self._read_range(path, name, spec)
            else:
                self.document.refuse(path, "needs values: [...], or both min and max")

    def _read_value(self, path: Path, name: str, value: Any) -> Any:
        value = self.trainable.plain(name, value)
        if rule := self.trainable.broken_rule(name, value):
            self.document.refuse(path, rule)
        return value

    def _read_choice(self, path: Path, name: str, told: Any) -> None:
        if not isinstance(told, list) or not told:
            self.document.refuse((*path, "values"), "must be a list with a value at least")
            return
        if len(told) > MOST_VALUES:
            self.document.refuse((*path, "values"), f"must be at most {MOST_VALUES:,} values, or a range: min and max")
            return
        values: list[Any] = []
        for place, value in enumerate(told):
            plain = self._read_value((*path, "values", place), name, value)
            if not among(plain, tuple(values)):
                values.append(plain)
        self.searched[name] = Choice(name, tuple(values))

    def _read_range(self, path: Path, name: str, spec: Mapping[str, Any]) -> None:
        before = len(self.document.problems)
        for key in ("min", "max"):
            if not _finite(spec[key]):
                self.document.refuse((*path, key), "must be a number")
        if spec.get("distribution", "uniform") not in list(DISTRIBUTIONS):
            rule = one_of(spec["distribution"], DISTRIBUTIONS, "distribution")
            self.document.refuse((*path, "distribution"), rule)
        if not isinstance(spec.get("log", False), bool):
            self.document.refuse((*path, "log"), "must be true or false")
        if len(self.document.problems) == before:
            self._check_range(path, name, spec)

    def _check_range(self, path: Path, name: str, spec: Mapping[str, Any]) -> None:
        low, high, log = spec["min"], spec["max"], spec.get("log", False)
        before = len(self.document.problems)
        if not low < high:
            self.document.refuse((*path, "max"), f"must be more than min, which is {shown(low)}")
            return
        for key in ("min", "max"):
            if rule := self.trainable.broken_rule(name, spec[key]):
                self.document.refuse((*path, key), rule)
        if len(self.document.problems) > before:
            return
        between = math.floor(low) + 0.5 if math.floor(low) + 0.5 > low else math.floor(low) + 0.75
        whole_only = low < between < high and self.trainable.broken_rule(name, between) is not None
        kind = DISTRIBUTIONS[spec.get("distribution", "int" if whole_only else "uniform")]
        if whole_only and kind != "int":
            self.document.refuse((*path, "distribution"), f"must be int: {name} takes whole numbers only")
        elif kind == "int" and not (low == int(low) and high == int(high)):
            self.document.refuse(path, "must have a whole min and max, its distribution being int")
        elif "log" in spec and kind != "int":
            self.document.refuse((*path, "log"), "goes with distribution: int; other numbers take log_uniform")
        elif (log or kind == "log_uniform") and low <= 0:
            self.document.refuse((*path, "min"), "must be more than 0 on a log scale")
        else:
            low, high = (int(low), int(high)) if kind == "int" else (low, high)
            self.searched[name] = Range(name, low, high, kind, log=log or kind == "log_uniform")

    def _read_condition(self, path: Path) -> Condition:
        """Names with the values that they may have, as ``when`` and ``forbid`` give them."""
        told = self.document.find(path)
        if not isinstance(told, dict) or not told:
            self.document.refuse(path, "must be a mapping of parameters to values, as in {encoder: resnet18}")
            return {}
        return {name: self._read_wanted((*path, name), name, wanted) for name, wanted in told.items()}

    def _read_wanted(self, path: Path, name: str, wanted: Any) -> tuple[Any, ...]:
        told = self.document.find([PART])
        parameter = self.searched.get(name)
        if name not in told:
            self.document.refuse(path, one_of(name, told, "parameter of this space"))
        elif wanted == [] or isinstance(wanted, dict):
            self.document.refuse(path, "must be a value or a list of values")
        elif isinstance(parameter, Range) and parameter.distribution != "int":
            self.document.refuse(path, f"cannot be asked for one value, {name} being a range")
        else:
            several = isinstance(wanted, list)
            places = [(value, (*path, place)) for place, value in enumerate(wanted)] if several else [(wanted, path)]
            return tuple(self._read_possible(place, name, value) for value, place in places)
        return ()

    def _read_possible(self, path: Path, name: str, value: Any) -> Any:
        value = self.trainable.plain(name, value)
        parameter = self.searched.get(name)
        if parameter is None:
            return self._read_value(path, name, value) if name in self.constants else value
        off = "when" in self.document.find([PART, name]) and among(value, (self.trainable.default(name),))
        if not parameter.takes(value) and not off:
            hint = did_you_mean(str(value), map(str, parameter.values)) if isinstance(parameter, Choice) else ""
            self.document.refuse(path, f"never happens: {name} is {parameter}.{hint}")
        return value

    def _put_in_order(self) -> None:
        """Parameters after those that their conditions ask for, otherwise as in the file."""
        waiting, placed = dict(self.searched), dict[str, Parameter]()
        while waiting:
            ready = next((name for name in waiting if not waiting[name].when.keys() & waiting.keys()), None)
            if ready is None:
                circle = _circle(waiting)
                self.document.refuse((PART, circle[0], "when"), f"goes round in a circle: {' -> '.join(circle)}")
                return
            placed[ready] = waiting.pop(ready)
        self.searched = placed


def _circle(waiting: Mapping[str, Parameter]) -> list[str]:
    seen = [next(iter(waiting))]
    while seen[-1] not in seen[:-1]:
        seen.append(next(name for name in waiting[seen[-1]].when if name in waiting))
    return seen[seen.index(seen[-1]) :]


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
