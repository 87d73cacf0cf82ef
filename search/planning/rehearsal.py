"""Rehearse a space before anything is trained: its own policy, configs and folds on generated worlds."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from search.messages import Entrant, Report
from search.planning.step_seconds import Durations
from search.policies.registry import policy_of
from search.race.score_table import Cell
from search.replay.generated_worlds import RECIPES, Array, Recipe, make_scores
from search.replay.simulation import simulate
from search.replay.timetable import Limits, Usage, usage
from spaces.schema.schedulers import Asha, Halving
from spaces.space import Point, Space
from trainable.printing import progress_bar

KINDS = ("mild", "factorial")  # curves that cross a little; configs made of what their parameters do
# A rehearsal is to take no more than a few seconds: fewer worlds for more configs, a sample of very many of them, and
# of very many reports as many as decide anything.
MOST_OF_A_KIND, CONFIGS_OF_A_KIND = 2, 240
MOST_CONFIGS, MOST_REPORTS = 400, 100
MOST_OF_ASHA = 200  # it looks at all configs for every job, and its share hardly depends on how many there are


@dataclass(frozen=True)
class Entry:
    """A config in a rehearsal: the steps at which it reports, and the seconds that it has then spent on a fold."""

    entrant: Entrant
    seconds: Array


class Curves(dict[Cell, list[Report]]):
    """The reports of a fold trial, made when it is first trained; most never are."""

    def __init__(self, entries: Mapping[str, Entry], scores: Mapping[str, Array]) -> None:
        super().__init__()
        self.entries, self.scores = entries, scores

    def __missing__(self, cell: Cell) -> list[Report]:
        (config, fold), entry = cell, self.entries[cell[0]]
        told = zip(entry.entrant.steps, self.scores[config][fold].tolist(), entry.seconds.tolist(), strict=True)
        self[cell] = [Report(config, fold, step, score, seconds) for step, score, seconds in told]
        return self[cell]


def trial_seconds(point: Point, pace: Durations) -> float:
    """What one fold of a config takes at full length; starting it and writing its results come on top."""
    return point.config.steps * pace.step + len(point.config.report_steps(point.config.steps)) * pace.evaluation


def rehearsed_configs(space: Space, configs: int) -> int:
    """How many of the configs take part."""
    return min(configs, MOST_OF_ASHA if isinstance(space.settings.scheduler, Asha) else MOST_CONFIGS)


def worlds_for(configs: int) -> int:
    """How many worlds of each kind."""
    return max(1, min(MOST_OF_A_KIND, CONFIGS_OF_A_KIND // configs))


def rehearse(
    space: Space,
    points: Sequence[Point],
    durations: Mapping[str, Durations],
    slots: int,
    limits: Limits,
) -> list[Usage]:
    """What the run takes in each of the worlds, within its limits."""
    count = rehearsed_configs(space, len(points))
    some = points if count == len(points) else random.Random(0).sample(points, count)
    share = len(some) / len(points)
    whole, part = (math.fsum(trial_seconds(p, durations[p.id]) for p in many) for many in (points, some))
    larger = whole / part if part else 1.0
    entries = {point.id: _entry(point, durations[point.id]) for point in some}
    asked = _smaller(space, share, larger)
    found, worlds = [], list(_worlds(worlds_for(len(some))))
    with progress_bar("rehearsing", after=1.0) as progress:
        for place, (recipe, seed) in enumerate(worlds):
            progress(place, len(worlds))
            policy = policy_of(asked)
            for entry in entries.values():
                policy.add(entry.entrant)
            curves = Curves(entries, _scores(recipe, list(entries.values()), asked.settings.folds, seed))
            took = usage(simulate(policy, curves, slots).intervals, _shrunk(limits, share, larger))
            found.append(_enlarged(took, share, larger))
    return found


def _worlds(count: int) -> Iterator[tuple[Recipe, int]]:
    return ((RECIPES[kind], seed) for seed in range(count) for kind in KINDS)


def _smaller(space: Space, share: float, larger: float) -> Space:
    """The space as it is for a sample of its configs: what it says in absolute numbers becomes as much smaller."""
    if share == 1:
        return space
    settings = space.settings
    hours = settings.budget.gpu_hours
    budget = settings.budget.model_copy(update={"gpu_hours": None if hours is None else hours / larger})
    scheduler = settings.scheduler
    if isinstance(scheduler, Halving) and scheduler.quotas is not None:
        quotas = tuple(math.ceil(quota * share) for quota in scheduler.quotas)
        scheduler = scheduler.model_copy(update={"quotas": quotas})
    return replace(space, settings=settings.model_copy(update={"budget": budget, "scheduler": scheduler}))


def _shrunk(limits: Limits, share: float, larger: float) -> Limits:
    return Limits(
        None if limits.gpu_seconds is None else limits.gpu_seconds / larger,
        None if limits.wall is None else limits.wall / larger,
        None if limits.trials is None else math.ceil(limits.trials * share),
    )


def _enlarged(took: Usage, share: float, larger: float) -> Usage:
    return Usage(took.gpu_seconds * larger, took.wall * larger, round(took.trials / share), took.ended_by)


def _entry(point: Point, pace: Durations) -> Entry:
    steps = point.config.report_steps(point.config.steps)
    every = math.ceil(len(steps) / MOST_REPORTS)
    kept = list(range(len(steps) - 1, -1, -every))[::-1]  # the last one always
    seconds = np.array([steps[place] * pace.step + (place + 1) * pace.evaluation for place in kept])
    return Entry(Entrant(point.id, tuple(steps[place] for place in kept), dict(point.values)), seconds)


def _scores(recipe: Recipe, entries: Sequence[Entry], folds: int, seed: int) -> dict[str, Array]:
    blocks: dict[tuple[int, ...], list[int]] = {}
    for row, entry in enumerate(entries):
        blocks.setdefault(entry.entrant.steps, []).append(row)
    shares = [(np.array(rows), np.array(steps) / steps[-1]) for steps, rows in blocks.items()]
    points = [entry.entrant.parameters for entry in entries]
    made = make_scores(recipe, points, folds, shares, np.random.default_rng(seed))
    return {
        entries[row].entrant.config: scores[place]
        for (rows, _), scores in zip(shares, made, strict=True)
        for place, row in enumerate(rows.tolist())
    }
