"""The output of a plan: lines for people, JSON or CSV for programs, and two lines and a file at a launch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search.planning.plan import DAY, Plan, PlanOptions, make_plan, plan_launch
from search.planning.pretraining import Pretraining
from search.planning.rehearsal import KINDS
from search.planning.step_seconds import duration
from search.replay.timetable import Usage
from search.runs.disk import describe_disk
from spaces.schema.samplers import GridSampler
from spaces.space import Space
from spaces.summary import summary
from trainable.errors import UserError
from trainable.printing import device_time, plural, say
from trainable.storage.checked_json import read_checked, write_checked

PLAN = "plan.json"
COLUMNS = ("figure", "grid", "expected", "low", "high")


def show_first(folder: Path, space: Space, options: PlanOptions, here: bool = True, grown: bool = False) -> Plan | None:
    """Print the plan before a launch, on this machine if ``here``; None if the run has one from its first launch.

    A resumed run, perhaps with another budget or on another machine, is planned again only if it has ``grown`` or
    ``options`` say so.
    """
    path = folder / PLAN
    if path.exists() and options == PlanOptions() and not grown:
        say(f"plan: {path}, from the first launch")
        return None
    plan = plan_launch(space, options) if here else make_plan(space, options)
    for line in brief(plan):
        say(f"plan: {line}")
    return plan


def keep_first(folder: Path, plan: Plan | None) -> None:
    """Write the plan from before the first trial, to compare it with what the run took; a later one is not kept."""
    if plan is not None and not (folder / PLAN).exists():
        write_checked(folder / PLAN, document(plan))


def recorded_plan(folder: Path) -> Mapping[str, Any]:
    """The plan of the first launch; nothing if it is lost or damaged: nothing that is trained depends on it."""
    path = folder / PLAN
    try:
        return read_checked(path, "remove it to plan again") if path.exists() else {}
    except UserError as damage:
        say(f"warning: {damage}")
        return {}


def too_long(plan: Plan) -> str | None:
    """A warning if the run is expected to take more than a day on this machine."""
    wall = plan.mean(lambda usage: usage.wall)
    if plan.estimates.source == "assumed" or wall <= DAY:
        return None
    return (
        f"this run is expected to take {duration(wall)} on this machine; --set budget.wall=12h would end it after 12 "
        "hours, and it can be resumed on another machine"
    )


def missing_data(space: Space) -> str | None:
    """Why a plan on this machine's data cannot be launched here; data in an object store are fetched later."""
    data = str(space.settings.data)
    if not space.trainable.needs_data or "://" in data or Path(data).is_dir():
        return None
    return f"data: {data}: no such folder, so this space cannot be launched here; --set data=... names another one"


def document(plan: Plan) -> dict[str, Any]:
    """The plan as one JSON document."""
    figures = {row["figure"]: {key: row[key] for key in COLUMNS[1:]} for row in rows(plan)}
    durations = plan.estimates.by_config[plan.estimates.largest]
    grid, expected = figures["gpu_hours"]["grid"], figures["gpu_hours"]["expected"]
    return {
        "space": plan.space.settings.name,
        "configs": plan.configs,
        "folds": plan.space.settings.folds,
        "trials": plan.trials,
        "steps": plan.steps,
        "gpu_hours": figures["gpu_hours"],
        "cost": figures.get("cost"),
        "wall_hours": figures["wall_hours"],
        "pretraining": None
        if plan.pretraining is None
        else {"encoders": plan.pretraining.encoders, "gpu_hours": plan.pretraining.seconds / 3600},
        "expected_trials": figures["trials"]["expected"],
        "share": expected / grid if grid else None,
        "device": plan.device,
        "slots": plan.slots,
        "step_seconds": {
            "seconds": durations.step,
            "evaluation": durations.evaluation,
            "config": plan.estimates.largest,
            "source": plan.estimates.source,
            "description": plan.estimates.description,
            "notes": list(plan.estimates.notes),
        },
        "worlds": dict.fromkeys(KINDS, plan.worlds) if plan.worlds else None,
        "ended_by": dict(plan.ended_by()),
        "affordable_configs": plan.affordable,
        "disk": None if plan.disk is None else {"most": plan.disk.most, "config": plan.disk.config},
    }


def rows(plan: Plan) -> list[dict[str, Any]]:
    """One row per figure; low and high are the minimum and maximum over the worlds."""
    figures: dict[str, Callable[[Usage], float]] = {
        "trials": lambda usage: usage.trials,
        "gpu_hours": lambda usage: usage.gpu_seconds / 3600,
        "wall_hours": lambda usage: usage.wall / 3600,
    }
    if (cost := plan.cost_per_gpu_second) is not None:
        figures["cost"] = lambda usage: usage.gpu_seconds * cost
    return [
        {
            "figure": name,
            "grid": None if plan.grid is None else figure(plan.grid),
            "expected": plan.mean(figure),
            "low": min(map(figure, plan.expected)),
            "high": max(map(figure, plan.expected)),
        }
        for name, figure in figures.items()
    ]


def lines(plan: Plan) -> list[tuple[str, str]]:
    """Pairs of a label and a text, for people."""
    settings = dict(summary(plan.space))
    found = [
        ("plan", f"{plan.space.settings.name}: {_counts(plan)}"),
        ("full grid", _grid(plan)),
        ("expected", _expected(plan)),
        ("scheduler", settings["scheduler"] + _rehearsed(plan)),
        ("a step", plan.estimates.description),
        *(("", note) for note in plan.estimates.notes),
    ]
    if plan.pretraining is not None:
        found.insert(3, ("before", f"{_pretraining(plan.pretraining, plan.device)}, in addition"))
    if not isinstance(plan.space.settings.sampler, GridSampler):
        found.append(("sampler", f"{settings['sampler']}; the plan uses randomly drawn configs in its place"))
    if budget := _budget(plan):
        found.append(("budget", budget))
    if plan.disk is not None:
        found.append(("disk", describe_disk(plan.disk, plan.space)))
    return found


def brief(plan: Plan) -> list[str]:
    """A few lines before a launch, without hours if step times are only assumed: they do not fit this machine."""
    if plan.estimates.source == "assumed":
        share = "" if plan.grid is None else f"; expected to train {_share(plan)} of the grid"
        found = [f"{_counts(plan)}{share}; step times on this machine are unknown, --calibrate measures them"]
    else:
        grid = "" if plan.grid is None else f", full grid {device_time(plan.grid.gpu_seconds, plan.device)}"
        found = [
            f"{_counts(plan)}{grid}; expected {_expected(plan)}",
            "; ".join([f"a step {plan.estimates.description}", *plan.estimates.notes]),
        ]
    if plan.pretraining is not None and plan.estimates.source != "assumed":
        found.insert(1, f"before: {_pretraining(plan.pretraining, plan.device)}, in addition")
    if budget := _budget(plan):
        found.append(f"budget: {budget}")
    return [*found, f"disk: {describe_disk(plan.disk, plan.space)}"] if plan.disk is not None else found


def _pretraining(found: Pretraining, device: str) -> str:
    each = duration(found.seconds / found.encoders)
    return (
        f"pre-training of {plural(found.encoders, 'encoder')}, about {each} each, {device_time(found.seconds, device)}"
    )


def _counts(plan: Plan) -> str:
    folds = plan.space.settings.folds
    if plan.configs is None:
        return f"open-ended, as many configs x {folds} folds as the budget allows"
    configs, trials = plural(plan.configs, "config"), plural(plan.trials or 0, "fold trial")
    return f"{configs} x {folds} folds = {trials}, {plan.steps:,} steps"


def _open_ended(plan: Plan) -> str:
    if plan.affordable is None:
        return "unknown: sampler.count does not limit the number of configs"
    return f"unknown without sampler.count; the budget is enough for {plan.affordable:.4g} configs at full length"


def _takes(plan: Plan, time: str, seconds: float, wall: float) -> str:
    cost = "" if plan.cost_per_gpu_second is None else f", cost {seconds * plan.cost_per_gpu_second:,.2f}"
    return f"{time}{cost}, {duration(wall)} on {plural(plan.slots, 'slot')}"


def _grid(plan: Plan) -> str:
    if plan.grid is None:
        return _open_ended(plan)
    seconds = plan.grid.gpu_seconds
    return _takes(plan, device_time(seconds, plan.device), seconds, plan.grid.wall)


def _expected(plan: Plan) -> str:
    spent = [usage.gpu_seconds for usage in plan.expected]
    mean = plan.mean(lambda usage: usage.gpu_seconds)
    time = device_time(mean, plan.device, min(spent), max(spent))
    text = _takes(plan, time, mean, plan.mean(lambda usage: usage.wall))
    if plan.grid is None or not plan.grid.gpu_seconds:
        return text
    return f"{text}, {_share(plan)} of the grid"


def _share(plan: Plan) -> str:
    grid = plan.grid.gpu_seconds if plan.grid is not None else 0.0
    return f"{100 * plan.mean(lambda usage: usage.gpu_seconds) / grid:.0f} %" if grid else "all"


def _rehearsed(plan: Plan) -> str:
    if not plan.worlds:
        return ""
    sample = f", with {plan.sampled} of the configs" if plan.sampled else ""
    return f"; simulated on {len(plan.expected)} generated worlds ({plan.worlds} each of {', '.join(KINDS)}{sample})"


def _budget(plan: Plan) -> str:
    """Whether the budget ends the run; empty without a budget."""
    budget, ended_by = plan.space.settings.budget, plan.ended_by()
    texts = {
        "gpu_hours": f"{budget.gpu_hours or 0:g} {plan.device}-hours",
        "wall": f"{duration(budget.wall or 0)} of wall-clock time",
        "trials": plural(budget.trials or 0, "fold trial"),
    }
    limits = [text for name, text in texts.items() if getattr(budget, name) is not None]
    if not limits or not ended_by:
        return f"enough ({', '.join(limits)})" if limits else ""
    ends = [
        f"the limit of {texts[name]} ends the run"
        + (f" in {count} of {len(plan.expected)} worlds" if plan.worlds else "")
        for name, count in ended_by.items()
    ]
    return f"{', '.join(ends)}; the run can be resumed with a larger budget"
