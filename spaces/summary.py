"""A summary of a space for the terminal, and its configs and problems as rows."""

import textwrap
from collections.abc import Sequence
from typing import Any

from spaces.schema.parameters import Condition
from spaces.schema.schedulers import Section
from spaces.schema.settings import Reference
from spaces.space import Point, Space
from spaces.yaml_file.problems import Problem, shown
from trainable.printing import ABSENT, plural, value_text

WIDTH = 84  # of the text of a line
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def summary(space: Space) -> list[tuple[str, str]]:
    """Lines of a label and a text; a line without a label continues the one before."""
    settings, resources = space.settings, space.settings.resources
    lines = [
        ("space", settings.name),
        ("data", settings.data or "none"),
        ("folds", f"{settings.folds}, split with seed {settings.fold_seed}"),
        ("metric", f"{settings.metric.name}, {settings.metric.goal}"),
        ("configs", config_count(space)),
    ]
    lines += _block("searched", [f"{p.name}: {p}{_when(p.when)}" for p in space.parameters.values()])
    lines += _block("fixed", _packed([f"{name}: {shown(value)}" for name, value in space.constants.items()]))
    lines += _block("forbidden", [condition_text(condition) for condition in space.forbid])
    lines += [
        ("sampler", _section(settings.sampler)),
        ("scheduler", _section(settings.scheduler)),
        ("budget", _budget(space)),
        ("resources", f"per fold trial: gpu {_number(resources.gpu)}, cpu {_number(resources.cpu)}"),
    ]
    lines += _block("references", _references(settings.references))
    if settings.tracking:
        lines.append(("tracking", ", ".join(settings.tracking)))
    if settings.plugins:
        lines.append(("plugins", ", ".join(map(str, settings.plugins))))
    if settings.trainable != "fold":
        lines.append(("trainable", settings.trainable))
    return lines


def config_count(space: Space) -> str:
    folds = space.settings.folds
    drawn = getattr(space.settings.sampler, "count", None)
    if space.size is not None and drawn is None:
        return f"{space.size:,} ({space.size * folds:,} fold trials)"
    total = f"{space.size:,}" if space.size is not None else "infinitely many" if space.ranges else "very many"
    if drawn is None:
        return f"as many as the budget allows, of {total}"
    return f"{drawn:,} of {total} ({drawn * folds:,} fold trials)"


def condition_text(condition: Condition) -> str:
    return ", ".join(f"{name} = {' or '.join(map(value_text, values))}" for name, values in condition.items())


def rows(points: list[Point]) -> list[dict[str, Any]]:
    """Points as rows; an inactive parameter has an empty cell, and a null value is shown as none."""
    names = dict.fromkeys(name for point in points for name in point.values)
    return [{"id": point.id} | {name: _cell(point.values.get(name, "")) for name in names} for point in points]


def rounded_rows(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows for display: numbers rounded, a dash for an inactive parameter."""
    return [{key: ABSENT if cell == "" else value_text(cell) for key, cell in row.items()} for row in table]


def problem_rows(problems: tuple[Problem, ...]) -> list[dict[str, str]]:
    return [{"place": p.place, "key": p.path, "value": p.found, "problem": p.rule} for p in problems]


def _cell(value: Any) -> Any:
    return "none" if value is None else value


def _block(label: str, texts: list[str]) -> list[tuple[str, str]]:
    return [(label if index == 0 else "", text) for index, text in enumerate(texts)]


def _packed(texts: list[str]) -> list[str]:
    """The texts, as many per line as fit."""
    lines: list[str] = []
    for text in texts:
        if lines and len(lines[-1]) + 2 + len(text) <= WIDTH:
            lines[-1] += f", {text}"
        else:
            lines.append(text)
    return lines


def _when(condition: Condition) -> str:
    return f" (when {condition_text(condition)})" if condition else ""


def _section(section: Section) -> str:
    values = section.model_dump(exclude_none=True)
    name = values.pop("name")
    return ", ".join([name, *(f"{key} {shown(value)}" for key, value in values.items())])


def _budget(space: Space) -> str:
    budget, device = space.settings.budget, "CPU" if space.settings.resources.gpu == 0 else "GPU"
    parts = {
        f"{device}-hours": _number(budget.gpu_hours),
        "of wall clock": None if budget.wall is None else _duration(budget.wall),
        "fold trials": _number(budget.trials),
        f"per {device}-hour": _number(budget.cost_per_gpu_hour),
    }
    return ", ".join(f"{amount} {unit}" for unit, amount in parts.items() if amount is not None) or "none"


def _references(references: Sequence[Reference]) -> list[str]:
    """A line per source: how many configs and figures of it."""
    lines = []
    for source in dict.fromkeys(reference.source for reference in references):
        own = [reference for reference in references if reference.source == source]
        figures = plural(sum(len(reference.scores) for reference in own), "published figure")
        text = f"{figures} for {plural(len(own), 'setting')}: {source}"
        lines.append(textwrap.shorten(text, WIDTH, placeholder="..."))
    return lines


def _number(value: Any) -> str | None:
    return f"{value:g}" if isinstance(value, float | int) else value


def _duration(seconds: float) -> str:
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), UNITS[-1])
    return f"{seconds / size:g} {unit}"
