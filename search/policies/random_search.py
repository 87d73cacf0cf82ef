"""A baseline: all folds of a random share of the configs, which is what the same budget buys without pruning."""

import math
import random
from collections.abc import Iterable

from search.messages import Entrant
from search.policies.grid import Grid


class RandomSearch(Grid):
    def __init__(self, entrants: Iterable[Entrant], folds: int, share: float = 0.26, seed: int = 0) -> None:
        configs = list(entrants)
        count = math.ceil(share * len(configs))
        super().__init__(random.Random(seed).sample(configs, count), folds)
