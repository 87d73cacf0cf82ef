"""Write a space in the format of the ConfigSpace library (0.4), without needing the library.

In ConfigSpace an inactive parameter has no value, so a condition on it never holds. In a space it has its default,
which conditions and exclusions can name. Each of them is therefore rewritten in terms of active parameters: as
alternatives, each of which lists the values that some parameters may have.
"""

import json
import math
import random
from typing import Any

from spaces.schema.parameters import Choice, Condition, Parameter, is_among
from spaces.space import Space

Alternative = dict[str, list[Any]]  # active parameters: the values that they may have
ALWAYS: list[Alternative] = [{}]
NEVER: list[Alternative] = []


def configspace(space: Space) -> dict[str, Any]:
    """Return the document, without constants and parameters whose condition never holds."""
    conditions = _Conditions(space)
    default = (space.configs()[0] if space.enumerable else space.sample(random.Random(0))).values
    active = {name: conditions.active(name) for name in space.parameters}
    return {
        "name": space.settings.name,
        "hyperparameters": [_hyperparameter(p, default) for n, p in space.parameters.items() if active[n] != NEVER],
        "conditions": [_condition(name, when) for name, when in active.items() if when not in (ALWAYS, NEVER)],
        "forbiddens": [_forbidden(each) for condition in space.forbid for each in conditions.all_of(condition)],
        "python_module_version": "1.2.0",
        "format_version": 0.4,
    }


class _Conditions:
    """Rewrites the conditions of a space as alternatives."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def active(self, name: str) -> list[Alternative]:
        return self.all_of(self.space.parameters[name].when)

    def all_of(self, condition: Condition) -> list[Alternative]:
        combined = ALWAYS
        for name, values in condition.items():
            alternatives = self.one_of(name, values)
            combined = [both for a in combined for b in alternatives if (both := _intersection(a, b)) is not None]
        return ALWAYS if {} in combined else combined

    def one_of(self, name: str, values: tuple[Any, ...], expected: bool = True) -> list[Alternative]:
        """When a parameter has one of these values, or none of them if ``expected`` is false."""
        parameter = self.space.parameters.get(name)
        if parameter is None:
            return ALWAYS if is_among(self.space.constants[name], values) == expected else NEVER
        alternatives = []
        active = self.active(name)
        matching = [value for value in _values(parameter) if is_among(value, values) == expected]
        if active != NEVER and matching:
            always = not parameter.when and len(matching) == len(_values(parameter))
            alternatives.append({} if always else {name: [_scalar(value) for value in matching]})
        if active != ALWAYS and is_among(self.space.trainable.default(name), values) == expected:
            for parent, parent_values in parameter.when.items():
                alternatives += self.one_of(parent, parent_values, expected=False)
        return ALWAYS if {} in alternatives else alternatives


def _intersection(one: Alternative, other: Alternative) -> Alternative | None:
    """Both alternatives at once; None if they exclude each other."""
    both = one | other
    for name in one.keys() & other.keys():
        both[name] = [value for value in one[name] if value in other[name]]
    return both if all(both.values()) else None


def _values(parameter: Parameter) -> list[Any]:
    """All values of a parameter that conditions can name, which excludes ranges of real numbers."""
    if isinstance(parameter, Choice):
        return list(parameter.values)
    return list(range(int(parameter.low), int(parameter.high) + 1))


def _hyperparameter(parameter: Parameter, default: Any) -> dict[str, Any]:
    name = parameter.name
    if isinstance(parameter, Choice):
        values = [_scalar(value) for value in parameter.values]
        chosen = _scalar(default.get(name, parameter.values[0]))
        if len(values) > 1 and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            kind: dict[str, Any] = {"type": "ordinal", "sequence": sorted(values)}
        else:
            kind = {"type": "categorical", "choices": values, "weights": None}
        return {**kind, "name": name, "default_value": chosen, "meta": None}
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


def _condition(child: str, alternatives: list[Alternative]) -> dict[str, Any]:
    any_of = [
        _joined("AND", child, [{"type": "IN", "child": child, "parent": k, "values": v} for k, v in each.items()])
        for each in alternatives
    ]
    return _joined("OR", child, any_of)


def _joined(kind: str, child: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"type": kind, "child": child, "conditions": parts}


def _forbidden(combination: Alternative) -> dict[str, Any]:
    clauses = [{"type": "IN", "name": name, "values": values} for name, values in combination.items()]
    return clauses[0] if len(clauses) == 1 else {"type": "AND", "clauses": clauses}


def _scalar(value: Any) -> Any:
    """Write a list as text, because the library cannot compare lists."""
    return json.dumps(value) if isinstance(value, list) else value
