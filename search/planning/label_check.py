"""Checks that the labels of a data set fit a space, before anything is decoded or trained."""

from collections.abc import Iterable, Iterator

from spaces.space import Space
from trainable.config import Config
from trainable.data.dataset import Split, open_split
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
    kinds = {(c.supervision, c.inputs, c.class_weights): c for c in configs}
    problems = dict.fromkeys(_problems(space, split, kinds.values()))
    if problems:
        raise UserError("\n".join(problems))
    return [COPIES] if any(copies_its_input(config) for config in kinds.values()) else []


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
