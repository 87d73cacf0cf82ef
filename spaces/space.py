"""A space: its configs, their order, and how a config is made from the values of its parameters."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from pydantic import ValidationError

from spaces.schema.parameters import Choice, Condition, Parameter, Range, canonical_condition, holds
from spaces.schema.settings import Settings
from spaces.schema.trainables import Trainable, trainable_of
from spaces.yaml_file.problems import Forbidden, shown, written
from spaces.yaml_file.rules import one_of, rule_of
from trainable.config import PLUGINS
from trainable.errors import UserError

LARGEST_GRID = 50_000
DRAWS = 1_000


@dataclass(frozen=True)
class Point:
    """A config of a space with the values of its active parameters."""

    id: str
    values: Mapping[str, Any]
    config: Any  # of the class that the trainable declares


@dataclass(frozen=True)
class Space:
    settings: Settings
    constants: Mapping[str, Any]
    parameters: Mapping[str, Parameter]  # each follows the parameters that its condition names
    forbid: tuple[Condition, ...] = ()

    @property
    def trainable(self) -> Trainable:
        return trainable_of(self.settings.trainable, self.settings.plugins)

    @property
    def ranges(self) -> list[Range]:
        return [parameter for parameter in self.parameters.values() if isinstance(parameter, Range)]

    @cached_property
    def enumerable(self) -> bool:
        """Whether all configs can be listed: the space has no range and is not too large."""
        if self.ranges:
            return False
        if math.prod(len(p.values) for p in self.parameters.values() if isinstance(p, Choice)) <= LARGEST_GRID:
            return True
        assignments = self._assignments(list(self.parameters.values()), {}, self._defaults())  # of active parameters
        return next(islice(assignments, LARGEST_GRID, None), None) is None

    @property
    def size(self) -> int | None:
        """The number of distinct configs; None if they cannot be listed."""
        return len(self._grid) if self.enumerable else None

    def configs(self) -> tuple[Point, ...]:
        """Every config once; the first parameter changes slowest."""
        if not self.enumerable:
            raise UserError(f"{self.settings.name}: the configs of this space cannot be listed, only sampled")
        return self._grid

    def choose(self, suggest: Callable[[Parameter], Any]) -> Point:
        """Make a config by calling ``suggest`` for every active parameter, in order."""
        values: dict[str, Any] = {}
        config = self._defaults()
        for name, parameter in self.parameters.items():
            if holds(parameter.when, config):
                values[name] = config[name] = suggest(parameter)
        return self._point(values, config)

    def sample(self, rng: random.Random) -> Point:
        """Draw a config at random; one that ``forbid`` excludes is drawn again."""
        for _ in range(DRAWS):
            try:
                return self.choose(lambda parameter: parameter.sample(rng))
            except Forbidden:
                continue
        raise UserError(f"{self.settings.name}: forbid excluded {DRAWS} random configs in a row")

    def resolve(self, values: Mapping[str, Any]) -> Point:
        """Make a config from given values; those of inactive parameters are ignored."""
        for name in values.keys() - self.parameters.keys():
            raise UserError(one_of(name, self.parameters, f"parameter of {self.settings.name}: {name!r}"))

        def value_of(parameter: Parameter) -> Any:
            if parameter.name not in values:
                raise UserError(f"{parameter.name}: has no value")
            if not parameter.allows(values[parameter.name]):
                raise UserError(f"{parameter.name} = {shown(values[parameter.name])}: must be {parameter}")
            return values[parameter.name]

        return self.choose(value_of)

    def complete(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all parameters of a config, given those of its active ones."""
        return self._defaults() | dict(values)

    def canonical(self) -> dict[str, Any]:
        """The space as JSON; reading it back gives an equal space."""
        document: dict[str, Any] = self.settings.model_dump(mode="json", exclude_none=True)
        for name in ("references", "keep_probabilities", PLUGINS):
            if not document[name]:
                del document[name]  # which spaces of earlier versions do not have
        document["parameters"] = dict(self.constants) | {name: p.canonical() for name, p in self.parameters.items()}
        document["forbid"] = [canonical_condition(condition) for condition in self.forbid]
        return document

    def difference(self, other: Space) -> list[str]:
        """The changes that turn this space into the other, one line per key."""
        return list(_difference("", self.canonical(), other.canonical()))

    @cached_property
    def _grid(self) -> tuple[Point, ...]:
        points: dict[str, Point] = {}
        for values, config in self._assignments(list(self.parameters.values()), {}, self._defaults()):
            try:
                point = self._point(values, config)
            except Forbidden:
                continue
            points.setdefault(point.id, point)
        return tuple(points.values())

    def _assignments(
        self, remaining: list[Parameter], values: dict[str, Any], config: dict[str, Any]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        if not remaining:
            yield values, config
            return
        first, *rest = remaining
        if not holds(first.when, config):
            yield from self._assignments(rest, values, config)
        elif isinstance(first, Choice):
            for value in first.values:
                yield from self._assignments(rest, {**values, first.name: value}, {**config, first.name: value})

    def _defaults(self) -> dict[str, Any]:
        return {name: self.trainable.default(name) for name in self.parameters} | dict(self.constants)

    def _point(self, values: Mapping[str, Any], config: Mapping[str, Any]) -> Point:
        for index, condition in enumerate(self.forbid):
            if holds(condition, config):
                raise Forbidden(f"{shown(dict(values))}: excluded by forbid.{index}")
        try:
            resolved = self.trainable.config.model_validate({**self.constants, **values})
        except ValidationError as error:
            rules = "; ".join(
                ": ".join([*map(str, problem["loc"][:1]), rule_of(problem)]) for problem in error.errors()
            )
            raise UserError(f"{shown(dict(values))}: {rules}") from None
        return Point(resolved.id, values, resolved)


def _difference(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            inner = f"{path}.{key}" if path else key
            if key not in old:
                yield f"{inner}: added, {written(new[key])}"
            elif key not in new:
                yield f"{inner}: removed, was {written(old[key])}"
            else:
                yield from _difference(inner, old[key], new[key])
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield f"{path}: {written(old)} -> {written(new)}"
