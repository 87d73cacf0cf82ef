"""Checks that the labels and the size of a data set fit a space, before anything is decoded or trained."""

from collections.abc import Iterable, Iterator

from spaces.space import Space
from trainable.config import STRIDE, Config
from trainable.data.dataset import Split, auto_size, open_split
from trainable.errors import UserError
from trainable.objectives.metrics import known_metric
from trainable.storage.cached_copies import data_folder
from trainable.training.labels import COPIES, check_labels, check_validation, copies_its_input


def check_space_labels(space: Space, configs: Iterable[Config]) -> list[str]:
    """Raise one error for all mistakes, and return warnings; data on another machine are not checked."""
    if not space.trainable.needs_data or space.settings.data is None:
        return []
    folder = data_folder(str(space.settings.data))
    if not folder.is_dir():
        return []
    split = open_split(folder)
    configs = list(configs)
    kinds = {(c.supervision, c.inputs, c.class_weights): c for c in configs}
    problems = dict.fromkeys([*_problems(space, split, kinds.values()), *_size_problems(split, configs)])
    if problems:
        raise UserError("\n".join(problems))
    warnings = [COPIES] if any(copies_its_input(config) for config in kinds.values()) else []
    return [*warnings, *dict.fromkeys(_incomparable(space, split))]


def _incomparable(space: Space, split: Split) -> Iterator[str]:
    """Published figures by metrics that the data do not have; they may still be meant for other data."""
    for reference in space.settings.references:
        for name in reference.scores:
            try:
                known_metric(name, split.task, split.volumes_file is not None)
            except UserError as error:
                yield f"references: {error}"


def _problems(space: Space, split: Split, configs: Iterable[Config]) -> Iterator[str]:
    try:
        known_metric(space.settings.metric.name, split.task, split.volumes_file is not None)
    except UserError as error:
        yield str(error)
    if space.settings.validation is not None:
        try:
            check_validation(split, space.settings.validation)
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
    kinds = {(config.network, config.batch_size): config for config in limited if config.size == "auto"}
    if kinds:
        size = auto_size(split, STRIDE)
        yield from filter(None, (config.size_problem(size) for config in kinds.values()))
