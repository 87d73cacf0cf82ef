"""The GPU memory that the fold trials of a space need, probed with all of its configs or the largest possible ones."""

import random
from collections.abc import Iterator
from typing import Any

from spaces.schema.parameters import Parameter, Range
from spaces.space import Space
from spaces.yaml_file.problems import Forbidden
from trainable.data.shipment import Shipment
from trainable.machine.memory_footprint import Footprint
from trainable.preflight.memory_probe import largest_footprint

DRAWS = 200


def measure_footprint(space: Space, shipment: Shipment) -> Footprint:
    """The footprint of the fold trial that needs the most memory, measured on this machine's GPU."""
    settings = space.settings
    return largest_footprint(memory_candidates(space), shipment.place(), settings.folds, settings.fold_seed)


def memory_candidates(space: Space) -> Iterator[Any]:
    """Configs that include the ones with the largest footprint: a higher value of a range never needs less memory."""
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
