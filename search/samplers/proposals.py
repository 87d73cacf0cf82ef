"""Proposals of configs from a list or at random. Samplers that learn from scores are in ``optuna_adapter``.

A proposal depends only on the space, the seed and the facts in the score table, so a resumed run gets the same
proposals as an uninterrupted one.
"""

import random
from collections.abc import Container, Iterable
from typing import Protocol

from search.policies.contract import Policy
from spaces.space import Point, Space

DRAWS = 1_000  # random samples without a new config after which a space is taken to be exhausted


class Proposals(Protocol):
    """Proposes configs one by one, never one that the policy already has."""

    count: int | None  # the total number of configs; None for as many as the budget allows
    ignores_scores: bool  # if so, proposing before scores are known makes no difference

    def propose(self, policy: Policy) -> Point | None:
        """The next config, or None if the space has no other."""


class ListProposals:
    """Every config of a list, in order."""

    ignores_scores = True

    def __init__(self, points: Iterable[Point]) -> None:
        points = tuple(points)
        self.count: int | None = len(points)
        self._remaining = iter(points)

    def propose(self, policy: Policy) -> Point | None:
        return next((point for point in self._remaining if point.id not in policy.score_table.entrants), None)


class RandomProposals:
    """Distinct configs, sampled at random."""

    ignores_scores = True

    def __init__(self, space: Space, seed: int, count: int | None) -> None:
        self.space, self.seed, self.count = space, seed, count

    def propose(self, policy: Policy) -> Point | None:
        known = policy.score_table.entrants
        return random_point(self.space, proposal_rng(self.seed, len(known)), known)


def random_points(space: Space, count: int, seed: int) -> tuple[Point, ...]:
    """The configs that a run samples at random: ``count`` of them, or all configs of a smaller space."""
    points: dict[str, Point] = {}
    while len(points) < count:
        point = random_point(space, proposal_rng(seed, len(points)), points)
        if point is None:
            break
        points[point.id] = point
    return tuple(points.values())


def proposal_rng(seed: int, number: int) -> random.Random:
    """A separate generator for each proposal, so that earlier draws in this process have no influence."""
    return random.Random(f"{seed} {number}")


def random_point(space: Space, rng: random.Random, known: Container[str]) -> Point | None:
    """A random config that is not known, or None if (almost) none is left."""
    if space.enumerable:
        left = [point for point in space.configs() if point.id not in known]
        return rng.choice(left) if left else None
    samples = (space.sample(rng) for _ in range(DRAWS))
    return next((point for point in samples if point.id not in known), None)
