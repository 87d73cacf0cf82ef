"""Load a space from a file and overrides, or report all of its problems at once."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces.schema.parameter_reader import ParameterReader
from spaces.schema.parameters import Choice, Condition, Range, holds
from spaces.schema.samplers import GridSampler, OptunaSampler
from spaces.schema.schedulers import FoldRace, Halving
from spaces.schema.settings import Settings
from spaces.schema.settings_reader import PARAMETER_KEYS, read_settings
from spaces.schema.trainables import PLUGGABLE, TRAINABLES, trainable_of
from spaces.shipped import find_space
from spaces.space import LARGEST_GRID, Space
from spaces.yaml_file.document import Document, open_document
from spaces.yaml_file.rules import one_of
from trainable.objectives.metrics import METRICS, OF_VOLUMES, may_be_metric


def load_space(path: str | Path, overrides: Sequence[str] = ()) -> Space:
    """Read a space file, or a shipped space by its name, and apply ``key.path=value`` overrides."""
    return _read(open_document(find_space(path), overrides))


def make_space(tree: Mapping[str, Any], name: str = "space") -> Space:
    """Make a space from the output of ``Space.canonical``; ``name`` replaces the file name in errors."""
    return _read(Document(name, deepcopy(dict(tree))))


def _read(document: Document) -> Space:
    settings, wrong = read_settings(document)
    parameters = ParameterReader(document, trainable_of(settings.trainable, settings.plugins))
    if "trainable" not in wrong and not TRAINABLES[settings.trainable].own_scores:
        _check_metric(document, settings)
    if not wrong & {"trainable", "plugins"}:
        parameters.read()
        if isinstance(document.find(["parameters"]), dict):
            settings = _read_references(document, settings, parameters)
        _check_data(document, settings)
        _check_plugins(document, settings)
        if not wrong & {"sampler", "budget"}:
            _check_sampler(document, settings, parameters)
        if not wrong & {"scheduler", "folds"}:
            settings = _check_scheduler(document, settings, parameters)
    document.raise_problems()
    space = Space(settings, parameters.constants, parameters.searched, tuple(parameters.forbid))
    _check_grid(document, space)
    document.raise_problems()
    space = _check_references(document, space)
    document.raise_problems()
    return space


def _read_references(document: Document, settings: Settings, parameters: ParameterReader) -> Settings:
    """Read ``where`` of every reference; references that only an override made impossible are left out."""
    listed = document.find(["references"])
    wheres: dict[int, Condition | None] = {}
    for index, reference in enumerate(listed if isinstance(listed, list) else []):
        before = len(document.problems)
        where = reference.get("where") if isinstance(reference, dict) else None
        read = parameters.read_where(("references", index, "where")) if isinstance(where, dict) and where else {}
        wheres[index] = read if all(read.values()) else None
        if len(document.problems) > before and _narrowed(document):
            del document.problems[before:]
            wheres[index] = None
    found = [
        reference.model_copy(update={"where": wheres[index]})
        for index, reference in enumerate(settings.references)
        if wheres[index] is not None
    ]
    return settings.model_copy(update={"references": tuple(found)})


def _check_references(document: Document, space: Space) -> Space:
    """Each reference must be met by a config, as far as configs can be listed."""
    if not space.settings.references or not space.enumerable:
        return space
    configs = [space.complete(point.values) for point in space.configs()]
    kept = []
    for index, reference in enumerate(space.settings.references):
        if any(holds(reference.where, config) for config in configs):
            kept.append(reference)
        elif not _narrowed(document):
            document.add_problem(["references", index, "where"], "no config of this space has these values together")
    return replace(space, settings=space.settings.model_copy(update={"references": tuple(kept)}))


def _narrowed(document: Document) -> bool:
    """Whether an override may have excluded configs that the file has."""
    return any(path[0] in PARAMETER_KEYS for path in document.overridden)


def _check_data(document: Document, settings: Settings) -> None:
    if TRAINABLES[settings.trainable].needs_data and document.tree.get("data") is None:
        document.add_problem(["data"], "is required: a folder with splits such as train/images, or s3://...")


def _check_metric(document: Document, settings: Settings) -> None:
    """Metrics of masks have fixed names, which depend on the classes: a launch compares them with the data."""
    metric, given = settings.metric, document.tree.get("metric")
    if not may_be_metric(metric.name):
        path = ["metric", "name"] if isinstance(given, dict) else ["metric"]
        document.add_problem(path, one_of(metric.name, [*METRICS, OF_VOLUMES], "metric"))
    elif metric.goal == "minimize":
        own = " or ".join(name for name, kind in TRAINABLES.items() if kind.own_scores)
        rule = f"higher is better for {metric.name}; lower scores can be better only with trainable: {own}"
        document.add_problem(["metric", "goal"], rule)
    for index, reference in enumerate(settings.references):
        for name, score in reference.scores.items():
            if not may_be_metric(name):
                document.add_problem(["references", index, "scores", name], one_of(name, METRICS, "metric"))
            elif not 0 <= score <= 1:
                rule = f"must be {'greater' if score < 0 else 'less'} than or equal to {int(score > 1)}"
                document.add_problem(["references", index, "scores", name], rule)


def _check_plugins(document: Document, settings: Settings) -> None:
    if settings.plugins and settings.trainable != PLUGGABLE:
        document.add_problem(["plugins"], f"add to trainable: {PLUGGABLE}; here trainable is {settings.trainable}")


def _check_sampler(document: Document, settings: Settings, parameters: ParameterReader) -> None:
    sampler = settings.sampler
    ranges = [name for name, parameter in parameters.searched.items() if isinstance(parameter, Range)]
    if isinstance(sampler, GridSampler):
        for name in ranges:
            rule = "is a range, which a grid cannot list: give values, or use sampler: random"
            document.add_problem(["parameters", name], rule)
    elif sampler.count is None and not settings.budget.ends:
        document.add_problem(["sampler", "count"], "is required unless a budget (gpu_hours, wall, trials) ends the run")
    unconditional = [name for name in ranges if not parameters.searched[name].when]
    if isinstance(sampler, OptunaSampler) and sampler.name == "cmaes" and not unconditional:
        document.add_problem(["sampler"], "cmaes needs at least one range without a condition: use tpe")


def _check_scheduler(document: Document, settings: Settings, parameters: ParameterReader) -> Settings:
    """Nothing is stratified by a parameter that an override fixed or made impossible."""
    scheduler = settings.scheduler
    if isinstance(scheduler, FoldRace) and (name := scheduler.stratify) is not None:
        choices = [other for other, parameter in parameters.searched.items() if isinstance(parameter, Choice)]
        fixed = name in parameters.constants and ("parameters", name) in document.overridden
        if fixed or name in parameters.left_out:
            settings = settings.model_copy(update={"scheduler": scheduler.model_copy(update={"stratify": None})})
        elif name not in choices:
            document.add_problem(["scheduler", "stratify"], one_of(name, choices, "parameter with values"))
    if isinstance(scheduler, Halving) and getattr(settings.sampler, "count", 0) is None:
        rule = "is required: halving promotes fractions of all configs, so it needs their number"
        document.add_problem(["sampler", "count"], rule)
    if isinstance(scheduler, Halving) and scheduler.quotas is not None and len(scheduler.quotas) >= settings.folds:
        rule = f"must have at most {settings.folds - 1} entries, one for each fold after the first"
        document.add_problem(["scheduler", "quotas"], rule)
    return settings


def _check_grid(document: Document, space: Space) -> None:
    if isinstance(space.settings.sampler, GridSampler) and not space.enumerable:
        document.add_problem(["parameters"], f"is a grid of more than {LARGEST_GRID:,} configs: use sampler: random")
    elif space.size == 0:
        document.add_problem(["forbid"], "excludes every config")
