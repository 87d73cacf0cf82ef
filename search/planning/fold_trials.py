"""Launching of fold trials that train networks: decoded images, files of weights, networks that can be built."""

from collections.abc import Iterable, Mapping

from search.planning.files import unlabelled_splits
from search.planning.gpu_memory import memory_candidates
from spaces.schema.parameters import Choice
from spaces.space import Space
from trainable.config import Config, make_config
from trainable.data.decoded_images import Data, open_data
from trainable.data.labelled import Labelled
from trainable.preflight.network_check import check_networks
from trainable.preflight.weights_check import check_weights
from trainable.pretraining.unlabelled import open_unlabelled
from trainable.printing import progress_bar
from trainable.storage.cached_copies import data_folder
from trainable.storage.shared_file import SharedFile
from trainable.training.labels import open_validation


def open_fold_data(space: Space) -> Labelled:
    """Decode the images in advance at every size that a config may use."""
    size = space.parameters.get("size")
    values = list(size.values) if isinstance(size, Choice) else []
    if size is None or size.when:
        values.append(space.constants.get("size", space.trainable.default("size")))
    sizes = dict.fromkeys(make_config({"size": each}).size for each in values)
    folder = data_folder(str(space.settings.data))
    with progress_bar("decoding images") as progress:
        opened = [open_data(folder, size, progress=progress) for size in sizes]
        for data in opened:
            open_validation(data, space.settings.validation, progress=progress)
            for name in unlabelled_splits(space):
                open_unlabelled(data, name, progress=progress)
    return opened[0]


def check_networks_of(space: Space, data: Labelled, weights: Mapping[str, SharedFile]) -> None:
    """Raise an error if a network cannot be built or started from its file of weights."""
    assert isinstance(data, Data)
    check_networks(memory_candidates(space))
    check_weights(memory_candidates(space), weights, data.channels, len(data.task.classes))


def fetch_weights(space: Space) -> None:
    """Download the pretrained weights of all encoders before the first trial needs them."""
    download(memory_candidates(space))


def download(networks: Iterable[Config]) -> None:
    pretrained = [config for config in networks if config.downloaded]
    if pretrained:
        from trainable.networks.registry import fetch_weights as fetch  # late: slow to import, and rarely needed

        fetch(pretrained)
