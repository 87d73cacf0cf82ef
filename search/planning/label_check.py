"""Checks that the labels and the size of a data set fit a space, before anything is decoded or trained."""

from collections.abc import Collection, Iterable, Iterator

from spaces.space import Space
from trainable.config import STRIDE, Config
from trainable.data.dataset import Split, auto_size, open_split
from trainable.data.folds import check_folds
from trainable.errors import UserError
from trainable.objectives.metrics import known_metric
from trainable.storage.cached_copies import data_folder
from trainable.training.labels import (
    COPIES,
    check_batch,
    check_labels,
    check_validation,
    copies_its_input,
    unscored_volumes,
)


def check_space_labels(space: Space, configs: Iterable[Config]) -> list[str]:
    """Raise one error for all mistakes, and return warnings; data on another machine are not checked."""
    split = split_here(space)
    if split is None:
        return []
    configs = list(configs)
    kinds = {(c.supervision, c.inputs, c.class_weights, c.tau): c for c in configs}
    of_configs = [*_size_problems(split, configs), *_batch_problems(space, split, configs)]
    problems = dict.fromkeys([*_problems(space, split, kinds.values()), *of_configs])
    if problems:
        raise UserError("\n".join(problems))
    warnings = [COPIES] if any(copies_its_input(config) for config in kinds.values()) else []
    if space.settings.validation is not None:
        warnings += unscored_volumes(split, space.settings.validation, space.settings.metric.name)
    return [*warnings, *dict.fromkeys(incomparable(space, split))]


def incomparable(space: Space, split: Split) -> Iterator[str]:
    """Published figures by metrics that the data do not have; they may still be meant for other data."""
    for reference in space.settings.references:
        for name in reference.scores:
            try:
                known_metric(name, split.task, split.volumes_file is not None)
            except UserError as error:
                yield f"references: {error}"


def split_here(space: Space) -> Split | None:
    """The labelled split of a space, or None if it is not on this machine."""
    folder = None if space.settings.data is None else data_folder(str(space.settings.data))
    return open_split(folder) if folder is not None and folder.is_dir() else None


def metric_problems(space: Space, split: Split) -> Iterator[str]:
    try:
        known_metric(space.settings.metric.name, split.task, split.volumes_file is not None)
    except UserError as error:
        yield str(error)


def fold_problems(space: Space, split: Split) -> Iterator[str]:
    try:
        check_folds(split, space.settings.folds)
    except UserError as error:
        yield str(error)


def _batch_problems(space: Space, split: Split, configs: Iterable[Config]) -> Iterator[str]:
    """The largest batch of each kind of supervision is the one that may be too large."""
    largest = {config.supervision: config for config in sorted(configs, key=lambda config: config.batch_size)}
    for config in largest.values():
        try:
            check_batch(config, split, space.settings.folds)
        except UserError as error:
            yield str(error)


def _problems(space: Space, split: Split, configs: Collection[Config]) -> Iterator[str]:
    yield from metric_problems(space, split)
    yield from fold_problems(space, split)
    if space.settings.validation is not None:
        try:
            check_validation(split, space.settings.validation, [config.inputs for config in configs])
        except UserError as error:
            yield str(error)
    for config in configs:
        try:
            check_labels(config, split)
        except UserError as error:
            yield str(error)


def _size_problems(split: Split, configs: Iterable[Config]) -> Iterator[str]:
    """The networks that cannot be trained at the size that the images decide."""
    limited = (config for config in configs if config.has("depth") or config.batch_size == 1)
    kinds = {(c.network, c.batch_size, c.pretraining, c.local_crops): c for c in limited if c.size == "auto"}
    if kinds:
        size = auto_size(split, STRIDE)
        yield from filter(None, (config.size_problem(size) for config in kinds.values()))
