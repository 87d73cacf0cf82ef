"""The plan of a space: what the full grid takes, what is expected under its scheduler, and which budget ends it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search.planning.rehearsal import rehearse, rehearsed_configs, trial_seconds, worlds_for
from search.planning.step_seconds import StepEstimates, estimate_steps
from search.replay.timetable import Limits, Usage, schedule_in_order, usage
from search.samplers.proposals import drawn
from spaces.schema.samplers import GridSampler
from spaces.schema.schedulers import Grid
from spaces.schema.settings import Resources
from spaces.space import Point, Space
from trainable.errors import UserError
from trainable.machine.hardware import accelerators, cores

OPEN_SAMPLE = 100  # configs that stand for those of a space which goes on until its budget is spent


@dataclass(frozen=True)
class PlanOptions:
    """What a person may say about the plan besides the space: it changes no run."""

    step_seconds: float | None = None
    calibrate: bool = False
    slots: int | None = None


@dataclass(frozen=True)
class Plan:
    """``grid`` is None where configs come until a budget ends the run; ``expected`` has an entry for each world."""

    space: Space
    configs: int | None
    steps: int | None
    grid: Usage | None
    expected: tuple[Usage, ...]
    worlds: int  # of each kind; 0 where there was nothing to rehearse
    estimates: StepEstimates
    slots: int
    affordable: float | None = None  # configs that an open-ended run could train in full

    @property
    def trials(self) -> int | None:
        return None if self.configs is None else self.configs * self.space.settings.folds

    @property
    def sampled(self) -> int | None:
        """How many of the configs were rehearsed, where it was not all of them."""
        some = rehearsed_configs(self.space, self.configs or 0)
        return some if self.worlds and some != self.configs else None

    @property
    def price(self) -> float | None:
        """Of a GPU-second."""
        hour = self.space.settings.budget.cost_per_gpu_hour
        return None if hour is None else hour / 3600

    def mean(self, of: Callable[[Usage], float]) -> float:
        return math.fsum(map(of, self.expected)) / len(self.expected)

    def ends(self) -> Counter[str]:
        """In how many of the worlds each budget ends the run."""
        return Counter(each.ended_by for each in self.expected if each.ended_by is not None)


def make_plan(space: Space, asked: PlanOptions) -> Plan:
    """Start nothing; measure steps only where that was asked for."""
    if asked.slots is not None and asked.slots < 1:
        raise UserError(f"--slots {asked.slots}: must be at least 1")
    limits = limits_of(space)
    points = planned(space)
    some = drawn(space, OPEN_SAMPLE, getattr(space.settings.sampler, "seed", 0)) if points is None else points
    estimates = estimate_steps(space, some, asked.step_seconds, asked.calibrate)
    slots = asked.slots or (1 if estimates.elsewhere else slots_here(space.settings.resources))
    if points is None:
        return _open_ended(space, some, estimates, slots)
    folds = range(space.settings.folds)
    whole = schedule_in_order((trial_seconds(p, estimates.by_config[p.id]) for _ in folds for p in points), slots)
    if isinstance(space.settings.scheduler, Grid):
        expected, worlds = [usage(whole, limits)], 0
    else:
        expected, worlds = rehearse(space, points, estimates.by_config, slots, limits), worlds_for(len(points))
    steps = len(folds) * sum(point.config.steps for point in points)
    return Plan(space, len(points), steps, usage(whole, Limits()), tuple(expected), worlds, estimates, slots)


def planned(space: Space) -> Sequence[Point] | None:
    """The configs of a run; as many at random where a sampler will choose them, None where nobody says how many."""
    sampler = space.settings.sampler
    if isinstance(sampler, GridSampler):
        return space.configs()
    return None if sampler.count is None else drawn(space, sampler.count, sampler.seed)


def limits_of(space: Space) -> Limits:
    budget = space.settings.budget
    return Limits(None if budget.gpu_hours is None else budget.gpu_hours * 3600, budget.wall, budget.trials)


def slots_here(resources: Resources) -> int:
    """How many fold trials this machine would train at once, as launch deals it out."""
    have, cards = cores(), len(accelerators())
    cpus = min(1.0 if isinstance(resources.cpu, str) else resources.cpu, have)
    gpus = min(1.0, cards) if isinstance(resources.gpu, str) else resources.gpu
    slots = int(have / cpus + 1e-9)
    return max(1, min(slots, int(cards / gpus + 1e-9)) if gpus else slots)


def _open_ended(space: Space, some: Sequence[Point], estimates: StepEstimates, slots: int) -> Plan:
    """All of the budget is spent, by whichever limit is met first; a space without any is refused when it is read."""
    limits = limits_of(space)
    trial = math.fsum(trial_seconds(point, estimates.by_config[point.id]) for point in some) / len(some)
    spent = {
        "gpu_hours": limits.gpu_seconds,
        "wall": None if limits.wall is None else limits.wall * slots,
        "trials": None if limits.trials is None else limits.trials * trial,
    }
    seconds, ended_by = min((seconds, name) for name, seconds in spent.items() if seconds is not None)
    trials = limits.trials if limits.trials is not None and ended_by == "trials" else math.ceil(seconds / (trial or 1))
    expected = Usage(seconds, seconds / slots, trials, ended_by)
    affordable = seconds / (trial * space.settings.folds) if trial else None
    return Plan(space, None, None, None, (expected,), 0, estimates, slots, affordable)
