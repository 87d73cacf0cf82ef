"""What a plan says: to people in a few lines, to machines as JSON or CSV, and at a launch in two lines and a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.planning.plan import Plan, PlanOptions, make_plan
from search.planning.rehearsal import KINDS
from search.planning.step_seconds import duration
from search.replay.timetable import Usage
from spaces.schema.samplers import GridSampler
from spaces.space import Space
from spaces.summary import summary
from trainable.printing import say
from trainable.storage.atomic_files import write_json

PLAN = "plan.json"
COLUMNS = ("figure", "grid", "expected", "low", "high")


def show_first(folder: Path, space: Space, asked: PlanOptions) -> None:
    """Say what a launch is about to cost, and keep it in the run's folder.

    The file keeps what was planned before the first trial, so that it can be compared with what the run then took: a
    launch that goes on, perhaps with another budget on another machine, plans again only if asked for, and in words.
    """
    path = folder / PLAN
    if path.exists() and asked == PlanOptions():
        say(f"plan: {path}, from the first launch")
        return
    plan = make_plan(space, asked)
    for line in brief(plan):
        say(f"plan: {line}")
    if not path.exists():
        write_json(path, document(plan))


def document(plan: Plan) -> dict[str, Any]:
    """For JSON."""
    told = rows(plan)
    figures = {row["figure"]: {key: row[key] for key in COLUMNS[1:]} for row in told}
    pace = plan.estimates.by_config[plan.estimates.largest]
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
        "expected_trials": figures["trials"]["expected"],
        "share": expected / grid if grid else None,
        "slots": plan.slots,
        "step_seconds": {
            "seconds": pace.step,
            "evaluation": pace.evaluation,
            "config": plan.estimates.largest,
            "source": plan.estimates.source,
            "told": plan.estimates.description,
            "notes": list(plan.estimates.notes),
        },
        "worlds": dict.fromkeys(KINDS, plan.worlds) if plan.worlds else None,
        "ended_by": dict(plan.ends()),
        "affordable_configs": plan.affordable,
    }


def rows(plan: Plan) -> list[dict[str, Any]]:
    """A row for each figure; low and high are the extremes of the worlds."""
    figures: dict[str, Callable[[Usage], float]] = {
        "trials": lambda usage: usage.trials,
        "gpu_hours": lambda usage: usage.gpu_seconds / 3600,
        "wall_hours": lambda usage: usage.wall / 3600,
    }
    if (price := plan.price) is not None:
        figures["cost"] = lambda usage: usage.gpu_seconds * price
    return [
        {
            "figure": name,
            "grid": None if plan.grid is None else of(plan.grid),
            "expected": plan.mean(of),
            "low": min(map(of, plan.expected)),
            "high": max(map(of, plan.expected)),
        }
        for name, of in figures.items()
    ]


def lines(plan: Plan) -> list[tuple[str, str]]:
    """Lines of a label and a text, for people."""
    said = dict(summary(plan.space))
    found = [
        ("plan", f"{plan.space.settings.name}: {_counts(plan)}"),
        ("full grid", _open(plan) if plan.grid is None else _takes(plan, plan.grid.gpu_seconds, plan.grid.wall)),
        ("expected", _expected(plan)),
        ("scheduler", said["scheduler"] + _rehearsed(plan)),
        ("a step", plan.estimates.description),
        *(("", note) for note in plan.estimates.notes),
    ]
    if not isinstance(plan.space.settings.sampler, GridSampler):
        found.append(("sampler", f"{said['sampler']}; configs drawn at random stand for those that it will choose"))
    if ends := _budget(plan):
        found.append(("budget", ends))
    return found


def brief(plan: Plan) -> list[str]:
    """A few lines before a launch. What is only assumed of a step says nothing of the machine that it starts on."""
    if plan.estimates.source == "assumed":
        share = "" if plan.grid is None else f", {_share(plan)} of which is expected to be trained"
        found = [f"{_counts(plan)}{share}; what a step takes here is not known, --calibrate measures it"]
    else:
        grid = "" if plan.grid is None else f", full grid {hours(plan.grid.gpu_seconds)} GPU-hours"
        found = [
            f"{_counts(plan)}{grid}; expected {_expected(plan)}",
            "; ".join([f"a step {plan.estimates.description}", *plan.estimates.notes]),
        ]
    return [*found, f"budget {ends}"] if (ends := _budget(plan)) else found


def hours(seconds: float) -> str:
    """GPU-hours with three digits."""
    value = seconds / 3600
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _counts(plan: Plan) -> str:
    folds = plan.space.settings.folds
    if plan.configs is None:
        return f"open-ended, as many configs x {folds} folds as the budget allows"
    return f"{plan.configs:,} configs x {folds} folds = {plan.trials:,} fold trials, {plan.steps:,} steps"


def _open(plan: Plan) -> str:
    if plan.affordable is None:
        return "nobody says how many configs there are (sampler.count)"
    return f"nobody says how many configs (sampler.count); the budget pays for {plan.affordable:.3g} of them in full"


def _takes(plan: Plan, seconds: float, wall: float, spread: str = "") -> str:
    cost = "" if plan.price is None else f", cost {seconds * plan.price:,.2f}"
    slots = "1 slot" if plan.slots == 1 else f"{plan.slots} slots"
    return f"{hours(seconds)} GPU-hours{spread}{cost}, {duration(wall)} on {slots}"


def _expected(plan: Plan) -> str:
    spent = [usage.gpu_seconds for usage in plan.expected]
    low, high = hours(min(spent)), hours(max(spent))
    text = _takes(
        plan,
        plan.mean(lambda usage: usage.gpu_seconds),
        plan.mean(lambda usage: usage.wall),
        "" if low == high else f" ({low} to {high})",
    )
    if plan.grid is None or not plan.grid.gpu_seconds:
        return text
    return f"{text}, {_share(plan)} of the grid"


def _share(plan: Plan) -> str:
    grid = plan.grid.gpu_seconds if plan.grid is not None else 0.0
    return f"{100 * plan.mean(lambda usage: usage.gpu_seconds) / grid:.0f} %" if grid else "all"


def _rehearsed(plan: Plan) -> str:
    if not plan.worlds:
        return ""
    some = f", {plan.sampled} of the configs" if plan.sampled else ""
    return f"; rehearsed on {len(plan.expected)} generated worlds ({plan.worlds} each of {', '.join(KINDS)}{some})"


def _budget(plan: Plan) -> str:
    """Whether the budget ends the run; nothing where there is none."""
    budget, ends = plan.space.settings.budget, plan.ends()
    texts = {
        "gpu_hours": f"{budget.gpu_hours or 0:g} GPU-hours",
        "wall": f"{duration(budget.wall or 0)} of wall clock",
        "trials": f"{budget.trials} fold trials",
    }
    limits = [text for name, text in texts.items() if getattr(budget, name) is not None]
    if not limits or not ends:
        return f"{', '.join(limits)} is enough" if limits else ""
    often = [
        f"{texts[name]} end the run" + (f" in {count} of {len(plan.expected)} worlds" if plan.worlds else "")
        for name, count in ends.items()
    ]
    return f"{', '.join(often)}; it can be gone on with"
