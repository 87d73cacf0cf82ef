"""A space as the ConfigSpace library writes and reads it (format 0.4), without needing the library.

There a parameter that is off has no value, and every condition on it fails. Here it has its default, which conditions
and exclusions may ask for. So each is written as what it comes to in terms of parameters that are on: alternatives, in
each of which some parameters have one of some values.
"""

from __future__ import annotations

import json
import math
import random
from typing import Any

from spaces.schema.parameters import Choice, Condition, Parameter, among
from spaces.space import Space

Alternative = dict[str, list[Any]]  # parameters that are on: the values that they may have
ALWAYS: list[Alternative] = [{}]
NEVER: list[Alternative] = []


def configspace(space: Space) -> dict[str, Any]:
    """The document; constants are not in it, and neither is a parameter whose condition never holds."""
    terms = _Terms(space)
    default = (space.configs()[0] if space.enumerable else space.sample(random.Random(0))).values
    on = {name: terms.on(name) for name in space.parameters}
    return {
        "name": space.settings.name,
        "hyperparameters": [_hyperparameter(p, default) for name, p in space.parameters.items() if on[name] != NEVER],
        "conditions": [_condition(name, met) for name, met in on.items() if met not in (ALWAYS, NEVER)],
        "forbiddens": [_forbidden(each) for condition in space.forbid for each in terms.all(condition)],
        "python_module_version": "1.2.0",
        "format_version": 0.4,
    }


class _Terms:
    """What the conditions of a space come to."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def on(self, name: str) -> list[Alternative]:
        return self.all(self.space.parameters[name].when)

    def all(self, condition: Condition) -> list[Alternative]:
        met = ALWAYS
        for name, values in condition.items():
            met = [both for one in met for other in self.one(name, values) if (both := _both(one, other)) is not None]
        return ALWAYS if {} in met else met

    def one(self, name: str, values: tuple[Any, ...], among_them: bool = True) -> list[Alternative]:
        """When a parameter has one of these values, or when it has none of them."""
        parameter = self.space.parameters.get(name)
        if parameter is None:
            return ALWAYS if among(self.space.constants[name], values) == among_them else NEVER
        alternatives = []
        on = self.on(name)
        if on != NEVER and (wanted := [value for value in _values(parameter) if among(value, values) == among_them]):
            whole = not parameter.when and len(wanted) == len(_values(parameter))
            alternatives.append({} if whole else {name: [_plain(value) for value in wanted]})
        if on != ALWAYS and among(self.space.trainable.default(name), values) == among_them:
            for parent, asked in parameter.when.items():
                alternatives += self.one(parent, asked, among_them=False)
        return ALWAYS if {} in alternatives else alternatives


def _both(one: Alternative, other: Alternative) -> Alternative | None:
    """Two alternatives at once; None where they cannot be."""
    both = one | other
    for name in one.keys() & other.keys():
        both[name] = [value for value in one[name] if value in other[name]]
    return both if all(both.values()) else None


def _values(parameter: Parameter) -> list[Any]:
    """All that a parameter may be; conditions cannot ask for a value of a range of real numbers."""
    if isinstance(parameter, Choice):
        return list(parameter.values)
    return list(range(int(parameter.low), int(parameter.high) + 1))


def _hyperparameter(parameter: Parameter, default: Any) -> dict[str, Any]:
    name = parameter.name
    if isinstance(parameter, Choice):
        values = [_plain(value) for value in parameter.values]
        chosen = _plain(default.get(name, parameter.values[0]))
        if len(values) > 1 and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            return {
                "type": "ordinal",
                "name": name,
                "sequence": sorted(values),
                "default_value": chosen,
                "meta": None,
            }
        return {
            "type": "categorical",
            "name": name,
            "choices": values,
            "weights": None,
            "default_value": chosen,
            "meta": None,
        }
    whole = parameter.distribution == "int"
    middle = math.sqrt(parameter.low * parameter.high) if parameter.log else (parameter.low + parameter.high) / 2
    return {
        "type": "uniform_int" if whole else "uniform_float",
        "name": name,
        "lower": parameter.low,
        "upper": parameter.high,
        "default_value": default.get(name, round(middle) if whole else middle),
        "log": parameter.log,
        "meta": None,
    }


def _condition(child: str, met: list[Alternative]) -> dict[str, Any]:
    any_of = [
        _joined("AND", child, [{"type": "IN", "child": child, "parent": k, "values": v} for k, v in each.items()])
        for each in met
    ]
    return _joined("OR", child, any_of)


def _joined(kind: str, child: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"type": kind, "child": child, "conditions": parts}


def _forbidden(together: Alternative) -> dict[str, Any]:
    clauses = [{"type": "IN", "name": name, "values": values} for name, values in together.items()]
    return clauses[0] if len(clauses) == 1 else {"type": "AND", "clauses": clauses}


def _plain(value: Any) -> Any:
    """What the library can compare: a list is written out."""
    return json.dumps(value) if isinstance(value, list) else value
