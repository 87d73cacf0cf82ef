"""What the fold trials of a space take of a GPU: all its configs are asked, or the extremes of those there may be."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from spaces.schema.parameters import Parameter, Range
from spaces.space import Space
from spaces.yaml_file.problems import Forbidden
from trainable.config import Config
from trainable.data.shipment import Shipment
from trainable.machine.memory_footprint import Footprint
from trainable.preflight.memory_probe import largest_footprint

DRAWS = 200


def measure_footprint(space: Space, shipment: Shipment) -> Footprint:
    """What the fold trial that takes the most takes, measured on this machine's GPU."""
    asked = space.settings
    return largest_footprint(memory_candidates(space), shipment.place(), asked.folds, asked.fold_seed)


def memory_candidates(space: Space) -> Iterator[Config]:
    """Configs among which are those that take the most memory: none takes less for a higher value of a range."""
    if space.enumerable:
        yield from (point.config for point in space.configs())
        return
    rng = random.Random(0)

    def highest(parameter: Parameter) -> Any:
        return parameter.high if isinstance(parameter, Range) else parameter.sample(rng)

    for _ in range(DRAWS):
        try:
            yield space.choose(highest).config
        except Forbidden:
            yield space.sample(rng).config
