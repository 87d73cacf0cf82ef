"""Launching of fold trials that train networks: decoded images, files of weights, networks that can be built."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from search.planning.files import unlabelled_splits
from search.planning.gpu_memory import memory_candidates
from spaces.schema.parameters import Choice
from spaces.space import Space
from trainable.config import Config, make_config
from trainable.data.decoded_images import Data, open_data
from trainable.data.folds import folds_of
from trainable.data.labelled import SCRIBBLES, Labelled
from trainable.preflight.network_check import check_networks
from trainable.preflight.weights_check import check_weights
from trainable.pretraining.unlabelled import open_unlabelled
from trainable.printing import progress_bar
from trainable.storage.cached_copies import data_folder
from trainable.storage.shared_file import SharedFile
from trainable.training.labels import check_drawn, drawn_pixels, open_validation


def open_fold_data(space: Space) -> Labelled:
    """Decode the images in advance at every size that a config may use."""
    sizes = dict.fromkeys(make_config({"size": each}).size for each in _values_of(space, "size"))
    folder = data_folder(str(space.settings.data))
    with progress_bar("decoding images") as progress:
        opened = [open_data(folder, size, progress=progress) for size in sizes]
        for data in opened:
            open_validation(data, space.settings.validation, progress=progress)
            for name in unlabelled_splits(space):
                open_unlabelled(data, name, progress=progress)
    return opened[0]


def check_networks_of(space: Space, data: Labelled, weights: Mapping[str, SharedFile]) -> None:
    """Raise an error if a network cannot be built or started from its file of weights, or cannot learn a class."""
    assert isinstance(data, Data)
    if SCRIBBLES in _values_of(space, "supervision"):
        _check_scribbles(space, data)
    check_networks(memory_candidates(space))
    check_weights(memory_candidates(space), weights, data.channels, len(data.task.classes))


def _check_scribbles(space: Space, data: Data) -> None:
    """Raise an error if the scribbles that some fold learns from lack a class."""
    folds = folds_of(data, space.settings.folds, space.settings.fold_seed)
    border = space.parameters.get("border") is not None or _values_of(space, "border") != [0]
    drawn = drawn_pixels(data, np.arange(len(data.stems)))
    for fold in range(folds.count):
        training = data.indices(folds.training(fold))
        check_drawn(drawn[training[data.scribbled[training]]], data.task.classes, border, fold)


def _values_of(space: Space, name: str) -> list[Any]:
    """The values that a parameter without a range may have."""
    parameter = space.parameters.get(name)
    values = list(parameter.values) if isinstance(parameter, Choice) else []
    if parameter is None or parameter.when:
        values.append(space.constants.get(name, space.trainable.default(name)))
    return values


def fetch_weights(space: Space) -> None:
    """Download the pretrained weights of all encoders before the first trial needs them."""
    download(memory_candidates(space))


def download(networks: Iterable[Config]) -> None:
    pretrained = [config for config in networks if config.downloaded]
    if pretrained:
        from trainable.networks.registry import fetch_weights as fetch  # late: slow to import, and rarely needed

        fetch(pretrained)
