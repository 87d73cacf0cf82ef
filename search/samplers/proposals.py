"""Where the configs of a run come from: a list, chance, or (in a file of its own) what was learnt from their scores.

A proposal follows from the space, the seed and the facts on the board alone, so a run that died and goes on is
proposed what it would have been proposed.
"""

from __future__ import annotations

import random
from collections.abc import Container, Iterable
from typing import Protocol

from search.policies.contract import Policy
from spaces.space import Point, Space

DRAWS = 1_000  # at random, before a space of ranges is taken to hold nothing new


class Proposals(Protocol):
    """Proposes configs one by one, never one that the policy knows."""

    count: int | None  # of configs in all; None is as many as the budget allows
    ignores_scores: bool  # looks at no score, so nothing is lost by asking early

    def propose(self, policy: Policy) -> Point | None:
        """The next config to try; None where the space has none left."""


class ListProposals:
    """Every config of a list, in its order."""

    ignores_scores = True

    def __init__(self, points: Iterable[Point]) -> None:
        points = tuple(points)
        self.count: int | None = len(points)
        self._left = iter(points)

    def propose(self, policy: Policy) -> Point | None:
        return next((point for point in self._left if point.id not in policy.score_table.entrants), None)


class RandomProposals:
    """Different configs at random."""

    ignores_scores = True

    def __init__(self, space: Space, seed: int, count: int | None) -> None:
        self.space, self.seed, self.count = space, seed, count

    def propose(self, policy: Policy) -> Point | None:
        known = policy.score_table.entrants
        return random_point(self.space, proposal_rng(self.seed, len(known)), known)


def random_points(space: Space, count: int, seed: int) -> tuple[Point, ...]:
    """The configs that a run of so many at random has, or all that there are where they are fewer."""
    points: dict[str, Point] = {}
    while len(points) < count and (point := random_point(space, proposal_rng(seed, len(points)), points)) is not None:
        points[point.id] = point
    return tuple(points.values())


def proposal_rng(seed: int, number: int) -> random.Random:
    """Chance of its own for each proposal, so that it does not matter what was drawn in this process before."""
    return random.Random(f"{seed} {number}")


def random_point(space: Space, rng: random.Random, known: Container[str]) -> Point | None:
    """A config at random that is not known; None where there is none (or hardly any) left."""
    if space.enumerable:
        left = [point for point in space.configs() if point.id not in known]
        return rng.choice(left) if left else None
    random_points = (space.sample(rng) for _ in range(DRAWS))
    return next((point for point in random_points if point.id not in known), None)
