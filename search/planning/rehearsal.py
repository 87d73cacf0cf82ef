"""Rehearse a space before anything is trained: run its policy with its configs and folds on generated worlds."""

import math
import random
from collections.abc import Mapping, Sequence
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

KINDS = ("mild", "factorial")  # curves that cross a little; scores that are the sum of parameter effects
# Keep a rehearsal to a few seconds: fewer worlds for more configs, and at most so many configs and reports.
MAX_WORLDS, CONFIGS_PER_KIND = 2, 240
MAX_CONFIGS, MAX_REPORTS = 400, 100
MAX_ASHA_CONFIGS = 200  # ASHA scans all configs for every job, and its savings hardly depend on their number


@dataclass(frozen=True)
class Entry:
    """A config in a rehearsal, with the seconds spent on a fold at each of its report steps."""

    entrant: Entrant
    seconds: Array


class Curves(dict[Cell, list[Report]]):
    """The reports of each fold trial, created on first use: most fold trials are never trained."""

    def __init__(self, entries: Mapping[str, Entry], scores: Mapping[str, Array]) -> None:
        super().__init__()
        self.entries, self.scores = entries, scores

    def __missing__(self, cell: Cell) -> list[Report]:
        (config, fold), entry = cell, self.entries[cell[0]]
        points = zip(entry.entrant.steps, self.scores[config][fold].tolist(), entry.seconds.tolist(), strict=True)
        self[cell] = [Report(config, fold, step, score, seconds) for step, score, seconds in points]
        return self[cell]


def trial_seconds(point: Point, durations: Durations) -> float:
    """Seconds for one fold of a config at full length, without starting it and writing its results."""
    steps: int = point.config.steps
    return steps * durations.step + len(point.config.report_steps(steps)) * durations.evaluation


def rehearsed_configs(space: Space, configs: int) -> int:
    return min(configs, MAX_ASHA_CONFIGS if isinstance(space.settings.scheduler, Asha) else MAX_CONFIGS)


def worlds_for(configs: int) -> int:
    return max(1, min(MAX_WORLDS, CONFIGS_PER_KIND // configs))


def rehearse(
    space: Space, points: Sequence[Point], durations: Mapping[str, Durations], slots: int, limits: Limits
) -> list[Usage]:
    """The usage of the run in each world, within its limits."""
    count = rehearsed_configs(space, len(points))
    sample = points if count == len(points) else random.Random(0).sample(points, count)
    share = len(sample) / len(points)
    whole, part = (math.fsum(trial_seconds(p, durations[p.id]) for p in many) for many in (points, sample))
    scale = whole / part if part else 1.0
    entries = {point.id: _entry(point, durations[point.id]) for point in sample}
    scaled_space = _scaled_space(space, share, scale)
    found, worlds = [], [(RECIPES[kind], seed) for seed in range(worlds_for(len(sample))) for kind in KINDS]
    with progress_bar("rehearsing", after=1.0) as progress:
        for number, (recipe, seed) in enumerate(worlds):
            progress(number, len(worlds))
            policy = policy_of(scaled_space)
            policy.score_table.minimize = False  # higher scores of generated worlds are better
            for entry in entries.values():
                policy.add(entry.entrant)
            curves = Curves(entries, _scores(recipe, list(entries.values()), scaled_space.settings.folds, seed))
            used = usage(simulate(policy, curves, slots).intervals, _scaled_limits(limits, share, scale))
            found.append(_full_usage(used, share, scale))
    return found


def _scaled_space(space: Space, share: float, scale: float) -> Space:
    """The space for a sample of its configs: absolute numbers shrink in proportion."""
    if share == 1:
        return space
    settings = space.settings
    hours = settings.budget.gpu_hours
    budget = settings.budget.model_copy(update={"gpu_hours": None if hours is None else hours / scale})
    scheduler = settings.scheduler
    if isinstance(scheduler, Halving) and scheduler.quotas is not None:
        quotas = tuple(math.ceil(quota * share) for quota in scheduler.quotas)
        scheduler = scheduler.model_copy(update={"quotas": quotas})
    return replace(space, settings=settings.model_copy(update={"budget": budget, "scheduler": scheduler}))


def _scaled_limits(limits: Limits, share: float, scale: float) -> Limits:
    return Limits(
        None if limits.gpu_seconds is None else limits.gpu_seconds / scale,
        None if limits.wall is None else limits.wall / scale,
        None if limits.trials is None else math.ceil(limits.trials * share),
    )


def _full_usage(used: Usage, share: float, scale: float) -> Usage:
    return Usage(used.gpu_seconds * scale, used.wall * scale, round(used.trials / share), used.ended_by)


def _entry(point: Point, durations: Durations) -> Entry:
    steps = point.config.report_steps(point.config.steps)
    every = math.ceil(len(steps) / MAX_REPORTS)
    kept = list(range(len(steps) - 1, -1, -every))[::-1]  # always with the last report
    seconds = np.array([steps[index] * durations.step + (index + 1) * durations.evaluation for index in kept])
    return Entry(Entrant(point.id, tuple(steps[index] for index in kept), dict(point.values)), seconds)


def _scores(recipe: Recipe, entries: Sequence[Entry], folds: int, seed: int) -> dict[str, Array]:
    blocks: dict[tuple[int, ...], list[int]] = {}
    for row, entry in enumerate(entries):
        blocks.setdefault(entry.entrant.steps, []).append(row)
    shares = [(np.array(rows), np.array(steps) / steps[-1]) for steps, rows in blocks.items()]
    points = [entry.entrant.parameters for entry in entries]
    blocks_of_scores = make_scores(recipe, points, folds, shares, np.random.default_rng(seed))
    return {
        entries[row].entrant.config: scores[index]
        for (rows, _), scores in zip(shares, blocks_of_scores, strict=True)
        for index, row in enumerate(rows.tolist())
    }
