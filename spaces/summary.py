"""What a space says, for people on one screen and for programs as JSON."""

from __future__ import annotations

from typing import Any

from spaces.schema.parameters import Condition
from spaces.schema.schedulers import Strict
from spaces.space import Point, Space
from spaces.yaml_file.problems import Problem, shown

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def summary(space: Space) -> list[tuple[str, str]]:
    """Lines of a label and a text; a label that is empty goes on with the one before."""
    settings = space.settings
    lines = [
        ("space", settings.name),
        ("data", settings.data or "none"),
        ("folds", f"{settings.folds}, dealt with seed {settings.fold_seed}"),
        ("metric", f"{settings.metric.name}, {settings.metric.goal}"),
        ("configs", count(space)),
    ]
    lines += _block("searched", [f"{p.name}: {p}{_when(p.when)}" for p in space.parameters.values()])
    lines += _block("fixed", [f"{name}: {shown(value)}" for name, value in space.constants.items()])
    lines += _block("forbidden", [condition_text(condition) for condition in space.forbid])
    lines += [
        ("sampler", _section(settings.sampler)),
        ("scheduler", _section(settings.scheduler)),
        ("budget", _budget(space)),
        (
            "resources",
            f"gpu {_number(settings.resources.gpu)}, cpu {_number(settings.resources.cpu)} for each fold trial",
        ),
    ]
    if settings.tracking:
        lines.append(("tracking", ", ".join(settings.tracking)))
    if settings.trainable != "fold":
        lines.append(("trainable", settings.trainable))
    return lines


def count(space: Space) -> str:
    folds = space.settings.folds
    drawn = getattr(space.settings.sampler, "count", None)
    if space.size is not None and drawn is None:
        return f"{space.size:,}, which makes {space.size * folds:,} fold trials"
    among = f"{space.size:,}" if space.size is not None else "endlessly many" if space.ranges else "very many"
    if drawn is None:
        return f"as many as the budget allows, of {among}"
    return f"{drawn:,} of {among}, which makes {drawn * folds:,} fold trials"


def condition_text(condition: Condition) -> str:
    return ", ".join(f"{name} = {' or '.join(map(str, values))}" for name, values in condition.items())


def rows(points: list[Point]) -> list[dict[str, Any]]:
    """Points as rows; a parameter that is off has an empty cell, and one that is null says none."""
    names = dict.fromkeys(name for point in points for name in point.values)
    return [{"id": point.id} | {name: _cell(point.values.get(name, "")) for name in names} for point in points]


def rounded(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows with numbers as short as people like them."""
    return [{key: f"{cell:.4g}" if isinstance(cell, float) else cell for key, cell in row.items()} for row in table]


def problem_rows(problems: tuple[Problem, ...]) -> list[dict[str, str]]:
    return [{"place": p.place, "key": p.path, "value": p.found, "problem": p.rule} for p in problems]


def _cell(value: Any) -> Any:
    return "none" if value is None else value


def _block(label: str, texts: list[str]) -> list[tuple[str, str]]:
    return [(label if place == 0 else "", text) for place, text in enumerate(texts)]


def _when(condition: Condition) -> str:
    return f" (when {condition_text(condition)})" if condition else ""


def _section(section: Strict) -> str:
    told = section.model_dump(exclude_none=True)
    name = told.pop("name")
    return ", ".join([name, *(f"{key} {shown(value)}" for key, value in told.items())])


def _budget(space: Space) -> str:
    budget = space.settings.budget
    parts = {
        "GPU-hours": _number(budget.gpu_hours),
        "of wall clock": None if budget.wall is None else _duration(budget.wall),
        "fold trials": _number(budget.trials),
        "per GPU-hour": _number(budget.cost_per_gpu_hour),
    }
    return ", ".join(f"{amount} {unit}" for unit, amount in parts.items() if amount is not None) or "none"


def _number(value: Any) -> str | None:
    return f"{value:g}" if isinstance(value, float | int) else value


def _duration(seconds: float) -> str:
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), UNITS[-1])
    return f"{seconds / size:g} {unit}"
