"""Checks of the networks that methods on single images start from, before the first image is segmented."""

from collections.abc import Iterable, Mapping

from trainable.config import ImageConfig
from trainable.data.folds import Folds
from trainable.data.labelled import Labelled
from trainable.images.pretrained.fold_models import FoldModels, open_fold_models
from trainable.preflight.network_check import check_networks
from trainable.preflight.weights_check import check_weights
from trainable.storage.shared_file import SharedFile

COLOURS = 3  # that a network sees of an image


def check_pretrained(
    configs: Iterable[ImageConfig],
    models: Iterable[FoldModels],
    folds: Folds,
    data: Labelled,
    weights: Mapping[str, SharedFile],
) -> None:
    """Raise an error if a network cannot be built, or has seen the images that it is to be used on."""
    for each in models:
        each.check_folds(folds)
    networks = [network for config in configs if (network := config.network) is not None]
    check_networks(networks)
    check_weights(networks, weights, COLOURS, len(data.task.classes))


def opened_weights(config: ImageConfig, folds: Folds, data: Labelled) -> dict[str, SharedFile]:
    """The checked files of weights of one config, by their names."""
    from trainable.networks.weights_file import file_of  # late: slow to import

    models = [] if config.features_from is None else [open_fold_models(config.features_from)]
    files = {name: file for each in models for name, file in each.named().items()}
    if config.network is not None and (file := file_of(config.network, needed=True)):
        files[file.name] = file
    check_pretrained([config], models, folds, data, files)
    return files
