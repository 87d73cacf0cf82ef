"""From a file (and overrides) to a space, or to all of its problems at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from spaces.schema.parameter_reader import Parameters
from spaces.schema.parameters import Choice, Range
from spaces.schema.samplers import GridSampler, OptunaSampler
from spaces.schema.schedulers import FoldRace, Halving
from spaces.schema.settings import Settings, read_settings
from spaces.schema.trainables import TRAINABLES
from spaces.shipped import find_space
from spaces.space import LARGEST_GRID, Space
from spaces.yaml_file.document import Document, open_document
from spaces.yaml_file.rules import one_of


def load_space(path: str | Path, overrides: Sequence[str] = ()) -> Space:
    """Read a space file, or a shipped space by its name, with ``key.path=value`` overrides applied to it."""
    return _read(open_document(find_space(path), overrides))


def make_space(tree: Mapping[str, Any], name: str = "space") -> Space:
    """A space from what ``Space.canonical`` gave; ``name`` stands for the file in errors."""
    return _read(Document(name, deepcopy(dict(tree))))


def _read(document: Document) -> Space:
    settings, wrong = read_settings(document)
    parameters = Parameters(document, TRAINABLES[settings.trainable])
    if "trainable" not in wrong:
        parameters.read()
        _check_data(document, settings)
        if not wrong & {"sampler", "budget"}:
            _check_sampler(document, settings, parameters)
        if not wrong & {"scheduler", "folds"}:
            _check_scheduler(document, settings, parameters)
    document.end()
    space = Space(settings, parameters.constants, parameters.searched, tuple(parameters.forbid))
    _check_grid(document, space)
    document.end()
    return space


def _check_data(document: Document, settings: Settings) -> None:
    if TRAINABLES[settings.trainable].needs_data and document.tree.get("data") is None:
        document.refuse(["data"], "is required: a folder with splits such as train/images, or s3://...")


def _check_sampler(document: Document, settings: Settings, parameters: Parameters) -> None:
    sampler = settings.sampler
    ranges = [name for name, parameter in parameters.searched.items() if isinstance(parameter, Range)]
    if isinstance(sampler, GridSampler):
        for name in ranges:
            rule = "is a range, which a grid cannot exhaust: give values, or use sampler: random"
            document.refuse(["parameters", name], rule)
    elif sampler.count is None and not settings.budget.ends:
        document.refuse(["sampler", "count"], "is required where no budget (gpu_hours, wall, trials) ends the run")
    lasting = [name for name in ranges if not parameters.searched[name].when]
    if isinstance(sampler, OptunaSampler) and sampler.name == "cmaes" and not lasting:
        document.refuse(["sampler"], "moves along ranges without a condition only, and there is none: use tpe")


def _check_scheduler(document: Document, settings: Settings, parameters: Parameters) -> None:
    scheduler = settings.scheduler
    if isinstance(scheduler, FoldRace) and scheduler.stratify is not None:
        choices = [name for name, parameter in parameters.searched.items() if isinstance(parameter, Choice)]
        if scheduler.stratify not in choices:
            document.refuse(["scheduler", "stratify"], one_of(scheduler.stratify, choices, "parameter with values"))
    if isinstance(scheduler, Halving) and getattr(settings.sampler, "count", 0) is None:
        rule = "is required: halving takes shares of all configs, so it must know how many will come"
        document.refuse(["sampler", "count"], rule)
    if isinstance(scheduler, Halving) and scheduler.quotas is not None and len(scheduler.quotas) >= settings.folds:
        rule = f"must be at most {settings.folds - 1}, one for each fold after the first"
        document.refuse(["scheduler", "quotas"], rule)


def _check_grid(document: Document, space: Space) -> None:
    if isinstance(space.settings.sampler, GridSampler) and not space.enumerable:
        document.refuse(["parameters"], f"is a grid of more than {LARGEST_GRID:,} configs: use sampler: random")
    elif space.size == 0:
        document.refuse(["forbid"], "excludes every config")
