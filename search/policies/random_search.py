"""A baseline: a random share of the configs on all folds, what the same money buys without any pruning."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from search.messages import Entrant
from search.policies.grid import Grid


class RandomSearch(Grid):
    def __init__(self, entrants: Iterable[Entrant], folds: int, share: float = 0.26, seed: int = 0) -> None:
        known = list(entrants)
        count = math.ceil(share * len(known))
        super().__init__(random.Random(seed).sample(known, count), folds)
