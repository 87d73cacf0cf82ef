"""The plan of a space: usage of the full grid, expected usage under its scheduler, and the budget that ends the run."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from search.planning.calibration import MAX_SHAPES
from search.planning.pretraining import Pretraining, estimate_pretraining
from search.planning.rehearsal import rehearse, rehearsed_configs, trial_seconds, worlds_for
from search.planning.step_seconds import StepEstimates
from search.planning.trial_kinds import kind_of
from search.replay.timetable import Limits, Usage, schedule_in_order, usage
from search.runs.disk import Disk, estimate_disk
from search.samplers.proposals import random_points
from spaces.schema.samplers import GridSampler
from spaces.schema.schedulers import Grid
from spaces.schema.settings import Resources
from spaces.space import Point, Space
from trainable.errors import UserError
from trainable.machine.allotment import fitting
from trainable.machine.hardware import accelerators, cores, device_kind
from trainable.printing import plural, say

DAY = 86_400.0
SLOWEST = {"GPU": 20.0, "CPU": 1500.0}  # how many times as long as is assumed a step may take, by the device
OPEN_ENDED_SAMPLE = 100  # configs that represent a space that proposes configs until its budget is spent


@dataclass(frozen=True)
class PlanOptions:
    """Options of the plan only: none of them changes a run."""

    step_seconds: float | None = None
    calibrate: bool = False
    slots: int | None = None
    shapes: int = MAX_SHAPES  # measured at most


@dataclass(frozen=True)
class Plan:
    """``grid`` is None for an open-ended space; ``expected`` has one usage per world, or one without a rehearsal."""

    space: Space
    configs: int | None
    steps: int | None
    grid: Usage | None
    expected: tuple[Usage, ...]
    worlds: int  # of each kind; 0 without a rehearsal
    estimates: StepEstimates
    slots: int
    affordable: float | None = None  # configs that an open-ended run could train in full
    pretraining: Pretraining | None = None  # what its usages do not include
    device: str = "GPU"  # whose hours are counted, or CPU
    disk: Disk | None = None

    @property
    def trials(self) -> int | None:
        return None if self.configs is None else self.configs * self.space.settings.folds

    @property
    def sampled(self) -> int | None:
        """The number of rehearsed configs; None if it was all of them."""
        count = rehearsed_configs(self.space, self.configs or 0)
        return count if self.worlds and count != self.configs else None

    @property
    def cost_per_gpu_second(self) -> float | None:
        cost = self.space.settings.budget.cost_per_gpu_hour
        return None if cost is None else cost / 3600

    def mean(self, figure: Callable[[Usage], float]) -> float:
        return math.fsum(map(figure, self.expected)) / len(self.expected)

    def ended_by(self) -> Counter[str]:
        """The number of worlds in which each budget ends the run."""
        return Counter(usage.ended_by for usage in self.expected if usage.ended_by is not None)


def make_plan(space: Space, options: PlanOptions) -> Plan:
    """Plan a space without starting anything; steps are measured only with ``calibrate``."""
    plan = _plan(space, options)
    elsewhere = options.slots is not None or plan.estimates.elsewhere  # on other machines than this one
    return replace(plan, device="GPU" if elsewhere and space.settings.resources.gpu != 0 else _device(space))


def plan_launch(space: Space, options: PlanOptions) -> Plan:
    """The plan of a launch on this machine: if it might take days, a few steps are measured unless they are known."""
    plan = make_plan(space, options)
    if plan.estimates.source != "assumed":
        return plan
    slower = SLOWEST[_device(space)] * plan.mean(lambda usage: usage.gpu_seconds) / slots_here(space.settings.resources)
    if slower <= DAY:
        return plan
    say("measuring a few steps, since this run might take days on this machine")
    return make_plan(space, replace(options, calibrate=True, shapes=1))


def check_cores(resources: Resources) -> None:
    """Refuse more cores for a fold trial than this machine has."""
    if not isinstance(resources.cpu, str) and resources.cpu > cores():
        raise UserError(
            f"resources.cpu = {resources.cpu:g}: this machine has {plural(cores(), 'core')}; "
            "a cluster with larger machines is joined with launch --address"
        )


def _device(space: Space) -> str:
    return "CPU" if space.settings.resources.gpu == 0 else device_kind()


def _plan(space: Space, options: PlanOptions) -> Plan:
    if options.slots is not None and options.slots < 1:
        raise UserError(f"--slots {options.slots}: must be at least 1")
    limits = limits_of(space)
    points = planned(space)
    sample = (
        random_points(space, OPEN_ENDED_SAMPLE, getattr(space.settings.sampler, "seed", 0))
        if points is None
        else points
    )
    kind = kind_of(space)
    warnings = kind.check(space, (point.config for point in sample))
    estimates = kind.estimate(space, sample, options.step_seconds, options.shapes if options.calibrate else 0)
    estimates = replace(estimates, notes=(*estimates.notes, *warnings))
    slots = options.slots or (1 if estimates.elsewhere else slots_here(space.settings.resources))
    if points is None:
        return _with_disk(_open_ended(space, sample, estimates, slots), sample)
    folds = range(space.settings.folds)
    full_grid = schedule_in_order((trial_seconds(p, estimates.by_config[p.id]) for _ in folds for p in points), slots)
    if isinstance(space.settings.scheduler, Grid):
        expected, worlds = [usage(full_grid, limits)], 0
    else:
        expected, worlds = rehearse(space, points, estimates.by_config, slots, limits), worlds_for(len(points))
    steps = len(folds) * sum(point.config.steps for point in points)
    grid, before = usage(full_grid, Limits()), estimate_pretraining(space, points, estimates.by_config)
    plan = Plan(space, len(points), steps, grid, tuple(expected), worlds, estimates, slots, pretraining=before)
    return _with_disk(plan, points)


def _with_disk(plan: Plan, points: Sequence[Point]) -> Plan:
    """The plan with the disk space of its expected fold trials; networks that cannot be built leave it unknown."""
    trials = plan.mean(lambda each: each.trials)
    configs = None if plan.configs is None and len(points) == OPEN_ENDED_SAMPLE else len(points)
    try:
        return replace(plan, disk=estimate_disk(plan.space, points, configs, trials, plan.slots))
    except UserError as problem:
        note = f"disk space unknown: {str(problem).splitlines()[0]}"
        return replace(plan, estimates=replace(plan.estimates, notes=(*plan.estimates.notes, note)))


def planned(space: Space) -> Sequence[Point] | None:
    """The configs of a run, drawn at random if a sampler will propose them; None if the space sets no number."""
    sampler = space.settings.sampler
    if isinstance(sampler, GridSampler):
        return space.configs()
    return None if sampler.count is None else random_points(space, sampler.count, sampler.seed)


def limits_of(space: Space) -> Limits:
    budget = space.settings.budget
    return Limits(None if budget.gpu_hours is None else budget.gpu_hours * 3600, budget.wall, budget.trials)


def slots_here(resources: Resources) -> int:
    """How many fold trials a launch would run at once on this machine."""
    available_cpus, available_gpus = cores(), len(accelerators())
    cpus = min(1.0 if isinstance(resources.cpu, str) else resources.cpu, available_cpus)
    gpus = min(1.0, available_gpus) if isinstance(resources.gpu, str) else resources.gpu
    return fitting(available_cpus, available_gpus, cpus, gpus)


def _open_ended(space: Space, sample: Sequence[Point], estimates: StepEstimates, slots: int) -> Plan:
    """The run spends its budget until the first limit; loading rejects an open-ended space without a limit."""
    limits = limits_of(space)
    trial = math.fsum(trial_seconds(point, estimates.by_config[point.id]) for point in sample) / len(sample)
    seconds_by_limit = {
        "gpu_hours": limits.gpu_seconds,
        "wall": None if limits.wall is None else limits.wall * slots,
        "trials": None if limits.trials is None else limits.trials * trial,
    }
    seconds, ended_by = min((seconds, name) for name, seconds in seconds_by_limit.items() if seconds is not None)
    trials = limits.trials if limits.trials is not None and ended_by == "trials" else math.ceil(seconds / (trial or 1))
    expected = Usage(seconds, seconds / slots, trials, ended_by)
    affordable = seconds / (trial * space.settings.folds) if trial else None
    return Plan(space, None, None, None, (expected,), 0, estimates, slots, affordable)
