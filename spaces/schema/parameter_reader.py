"""Read ``parameters`` and ``forbid``, and check every value against the trainable that will receive it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from spaces.schema.parameters import Choice, Condition, Distribution, Parameter, Range, is_among
from spaces.schema.trainables import Trainable
from spaces.yaml_file.document import Document
from spaces.yaml_file.problems import MISSING, Path, shown
from spaces.yaml_file.rules import one_of
from trainable.config import UNSCORED, conditions_of
from trainable.errors import did_you_mean

PARAMETERS = "parameters"
KEYS = ("values", "min", "max", "distribution", "log", "when")
MOST_VALUES = 1_000
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)


@dataclass
class ParameterReader:
    """Reads the parameters of a document; values with problems are left out."""

    document: Document
    trainable: Trainable
    constants: dict[str, Any] = field(default_factory=dict)
    searched: dict[str, Parameter] = field(default_factory=dict)
    forbid: list[Condition] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)  # an override made them impossible

    def read(self) -> None:
        specs = self.document.find([PARAMETERS])
        if not isinstance(specs, dict):
            rule = "is required" if specs in (MISSING, None) else "must be a mapping of names"
            self.document.add_problem([PARAMETERS], rule)
            return
        for name, spec in specs.items():
            self._read_one(name, spec)
        for name, spec in specs.items():
            if name in self.searched and spec.get("when") is not None:
                when = self._read_condition((PARAMETERS, name, "when"))
                self.searched[name] = replace(self.searched[name], when=when)
        self._leave_out_impossible()
        self._order_by_condition()
        for name in [*self.constants, *self.searched]:
            for choice, allowed in conditions_of(self.trainable.config, name).items():
                self._check_existence(name, choice, allowed)
        forbidden = self.document.find(["forbid"])
        if isinstance(forbidden, list):
            conditions = [self._read_condition(("forbid", index)) for index in range(len(forbidden))]
            self.forbid = [condition for condition in conditions if all(condition.values())]
        elif forbidden not in (MISSING, None):
            self.document.add_problem(["forbid"], "must be a list of conditions, as in [{loss: dice, pc: 1}]")

    def _read_one(self, name: str, spec: Any) -> None:
        path = (PARAMETERS, name)
        if not self.trainable.has(name):
            self.document.add_problem(path, one_of(name, self.trainable.config.model_fields, "hyperparameter"))
        elif isinstance(self.trainable.normalize(name, spec), list):
            self.document.add_problem(path, f"must be a value, or {{values: {shown(spec)}}}")
        elif not isinstance(spec, dict):
            self.constants[name] = self._read_value(path, name, spec)
        elif name in UNSCORED:
            self.document.add_problem(path, "must be one value: it does not decide a score, so it cannot be searched")
        else:
            for key in spec.keys() - set(KEYS):
                self.document.add_problem((*path, key), one_of(key, KEYS, "key of a parameter"))
            numeric = [key for key in ("min", "max", "distribution", "log") if key in spec]
            if "values" in spec and numeric:
                self.document.add_problem(path, f"has values, so it cannot have {' or '.join(numeric)}")
            elif "values" in spec:
                self._read_choice(path, name, spec["values"])
            elif "min" in spec and "max" in spec:
                self._read_range(path, name, spec)
            else:
                self.document.add_problem(path, "needs values: [...], or both min and max")

    def _read_value(self, path: Path, name: str, value: Any) -> Any:
        value = self.trainable.normalize(name, value)
        if rule := self.trainable.broken_rule(name, value):
            self.document.add_problem(path, rule)
        return value

    def _read_choice(self, path: Path, name: str, given: Any) -> None:
        if not isinstance(given, list) or not given:
            self.document.add_problem((*path, "values"), "must be a list of at least one value")
            return
        if len(given) > MOST_VALUES:
            rule = f"must have at most {MOST_VALUES:,} entries; use a range instead: min and max"
            self.document.add_problem((*path, "values"), rule)
            return
        values: list[Any] = []
        for index, value in enumerate(given):
            normalized = self._read_value((*path, "values", index), name, value)
            if not is_among(normalized, tuple(values)):
                values.append(normalized)
        self.searched[name] = Choice(name, tuple(values))

    def _read_range(self, path: Path, name: str, spec: Mapping[str, Any]) -> None:
        before = len(self.document.problems)
        for key in ("min", "max"):
            if not _finite(spec[key]):
                self.document.add_problem((*path, key), "must be a number")
        if spec.get("distribution", "uniform") not in DISTRIBUTIONS:
            rule = one_of(spec["distribution"], DISTRIBUTIONS, "distribution")
            self.document.add_problem((*path, "distribution"), rule)
        if not isinstance(spec.get("log", False), bool):
            self.document.add_problem((*path, "log"), "must be true or false")
        if len(self.document.problems) == before:
            self._check_range(path, name, spec)

    def _check_range(self, path: Path, name: str, spec: Mapping[str, Any]) -> None:
        low, high, log = spec["min"], spec["max"], spec.get("log", False)
        before = len(self.document.problems)
        if not low < high:
            self.document.add_problem((*path, "max"), f"must be greater than min, which is {shown(low)}")
            return
        for key in ("min", "max"):
            if rule := self.trainable.broken_rule(name, spec[key]):
                self.document.add_problem((*path, key), rule)
        if len(self.document.problems) > before:
            return
        between = math.floor(low) + 0.5 if math.floor(low) + 0.5 > low else math.floor(low) + 0.75
        whole_only = low < between < high and self.trainable.broken_rule(name, between) is not None
        kind = spec.get("distribution", "int" if whole_only else "uniform")
        if whole_only and kind != "int":
            self.document.add_problem((*path, "distribution"), f"must be int: {name} takes whole numbers only")
        elif kind == "int" and not (low == int(low) and high == int(high)):
            self.document.add_problem(path, "must have whole numbers as min and max, because its distribution is int")
        elif "log" in spec and kind != "int":
            self.document.add_problem((*path, "log"), "needs distribution: int; for real numbers, use log_uniform")
        elif (log or kind == "log_uniform") and low <= 0:
            self.document.add_problem((*path, "min"), "must be greater than 0 on a log scale")
        else:
            low, high = (int(low), int(high)) if kind == "int" else (low, high)
            self.searched[name] = Range(name, low, high, kind, log=log or kind == "log_uniform")

    def _leave_out_impossible(self) -> None:
        """Leave out parameters whose condition no config can meet, because an override took its values away."""
        while impossible := {
            name
            for name, parameter in self.searched.items()
            if not all(parameter.when.values()) or parameter.when.keys() & self.left_out
        }:
            self.left_out |= impossible
            self.searched = {name: each for name, each in self.searched.items() if name not in impossible}

    def _read_condition(self, path: Path) -> Condition:
        """Read a condition of ``when`` or ``forbid``: parameter names and the values that meet it.

        There are none if an override took all of these values away.
        """
        condition = self.document.find(path)
        if not isinstance(condition, dict) or not condition:
            self.document.add_problem(path, "must be a mapping of parameters to values, as in {encoder: resnet18}")
            return {}
        return {name: self._read_condition_values((*path, name), name, values) for name, values in condition.items()}

    def read_where(self, path: Path) -> Condition:
        """Read a condition that some config must be able to meet: fixed parameters must have its values, too."""
        condition = self._read_condition(path)
        for name, values in condition.items():
            if values and name in self.constants and not is_among(self.constants[name], values):
                self.document.add_problem((*path, name), f"can never hold: {name} is {shown(self.constants[name])}")
        return condition

    def _read_condition_values(self, path: Path, name: str, values: Any) -> tuple[Any, ...]:
        specs = self.document.find([PARAMETERS])
        parameter = self.searched.get(name)
        if name in self.left_out:
            return ()
        if name not in specs:
            self.document.add_problem(path, one_of(name, specs, "parameter of this space"))
        elif values == [] or isinstance(values, dict):
            self.document.add_problem(path, "must be a value or a list of values")
        elif isinstance(parameter, Range) and parameter.distribution != "int":
            self.document.add_problem(path, f"cannot be compared: {name} is a range of real numbers")
        else:
            several = isinstance(values, list)
            entries = [((*path, index), value) for index, value in enumerate(values)] if several else [(path, values)]
            read = [self._read_possible(place, name, value) for place, value in entries]
            return tuple(value for value in read if value is not MISSING)
        return ()

    def _read_possible(self, path: Path, name: str, value: Any) -> Any:
        value = self.trainable.normalize(name, value)
        parameter = self.searched.get(name)
        if parameter is None:
            return self._read_value(path, name, value) if name in self.constants else value
        conditional = "when" in self.document.find([PARAMETERS, name])
        is_default = conditional and is_among(value, (self.trainable.default(name),))
        if not parameter.allows(value) and not is_default:
            if self._was_narrowed(path, name):
                return MISSING
            hint = did_you_mean(str(value), map(str, parameter.values)) if isinstance(parameter, Choice) else ""
            self.document.add_problem(path, f"can never hold: {name} is {parameter}.{hint}")
        return value

    def _was_narrowed(self, path: Path, name: str) -> bool:
        """Whether an override changed this parameter, but not the condition at this path."""
        changed = self.document.overridden
        return any(other[:2] == (PARAMETERS, name) for other in changed) and not any(
            path[:length] in changed for length in range(1, len(path) + 1)
        )

    def _check_existence(self, name: str, choice: str, allowed: list[str]) -> None:
        """Report a hyperparameter that configs would set though it does not exist beside their value of a choice."""
        parameter, chooser = self.searched.get(name), self.searched.get(choice)
        possible: tuple[Any, ...] = (self.constants.get(choice, self.trainable.default(choice)),)
        if isinstance(chooser, Choice):
            possible = (*chooser.values, *(possible if chooser.when else ()))
        if parameter is not None and parameter.when.get(choice):
            possible = parameter.when[choice]
        possible = tuple(value for value in possible if not self.trainable.broken_rule(choice, value))
        fitting = [value for value in possible if value in allowed]
        rule = f"belongs to {choice} = {' or '.join(allowed)}"
        if possible and not fitting:
            rule += f"; here {choice} is {' or '.join(map(str, possible))}, so leave it out"
            self.document.add_problem((PARAMETERS, name), rule)
        elif len(fitting) < len(possible):
            value = "" if parameter is not None else f"values: [{shown(self.constants[name])}], "
            rule += f" alone: write {{{value}when: {{{choice}: [{', '.join(fitting)}]}}}}"
            self.document.add_problem((PARAMETERS, name), rule)

    def _order_by_condition(self) -> None:
        """Sort parameters after those that their conditions name, otherwise as in the file."""
        waiting, placed = dict(self.searched), dict[str, Parameter]()
        while waiting:
            ready = next((name for name in waiting if not waiting[name].when.keys() & waiting.keys()), None)
            if ready is None:
                cycle = _cycle(waiting)
                rule = f"is part of a cycle of conditions: {' -> '.join(cycle)}"
                self.document.add_problem((PARAMETERS, cycle[0], "when"), rule)
                return
            placed[ready] = waiting.pop(ready)
        self.searched = placed


def _cycle(waiting: Mapping[str, Parameter]) -> list[str]:
    seen = [next(iter(waiting))]
    while seen[-1] not in seen[:-1]:
        seen.append(next(name for name in waiting[seen[-1]].when if name in waiting))
    return seen[seen.index(seen[-1]) :]


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
