"""What a fold trial takes from a network that has seen other images: the network itself, or features of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainable.config import ImageConfig
from trainable.data.dataset import Pixels
from trainable.data.folds import Folds
from trainable.data.image_files import ImageFiles
from trainable.errors import UserError
from trainable.images.pretrained.fold_models import fold_file, open_fold_models
from trainable.images.pretrained.network import PretrainedNetwork, open_network
from trainable.images.pretrained.projection import Projection, fit_projection, read_projection
from trainable.networks.weights_file import file_of
from trainable.storage.atomic_files import cache_folder, write_atomically, write_json
from trainable.storage.shared_file import SharedFile, open_shared
from trainable.storage.urls import is_url

FILE = "pretrained.json"
TRAINING_IMAGES = 40  # that a projection is fitted to
SAMPLE = 6  # random stream of these images
CHANNELS = 8  # of an encoder's features, where the config leaves them open

Features = npt.NDArray[np.float16]  # (h, w, k), spread over the whole image
Weights = Mapping[str, SharedFile]


@dataclass(frozen=True)
class Pretrained:
    """A network, whose weights may be in ``file``, and how its maps are reduced; None leaves a fold model's
    probabilities alone.
    """

    config: ImageConfig
    network: PretrainedNetwork
    file: SharedFile | None
    projection: Projection | None

    def features(self, image: Pixels, scribble: Pixels) -> Features | None:
        """Of an image as it is on disk, computed once per machine: they are cached with the decoded images.

        None if the config's method takes none.
        """
        if not takes_features(self.config):
            return None
        path = cache_folder() / "features" / self._key / f"{_digest(image, scribble)}.npy"
        with suppress(OSError, ValueError, EOFError):
            found: Features = np.load(path)
            return found
        maps = _maps(self.config, self.network, image, scribble)
        if self.projection is None:
            maps = maps[: self.network.probability_channels].permute(1, 2, 0)
            found = maps.cpu().numpy().astype(np.float16)
        else:
            found = self.projection(maps).astype(np.float16)
        with suppress(OSError):  # a cache that cannot be written costs time alone
            write_atomically(path, lambda file: np.save(file, found))
        return found

    @property
    def _key(self) -> str:
        """Of all that features depend on besides the image."""
        own: list[Any] = [
            self.config.features,
            self.config.encoder,
            self.config.encoder_weights,
            self.network.device.type,
        ]
        own += [self.file and self.file.hash, self.projection and self.projection.as_json()]
        return hashlib.sha256(json.dumps(own).encode()).hexdigest()[:20]

    def as_json(self) -> dict[str, Any]:
        """What is needed to find the same again."""
        file = None
        if self.file is not None:
            name = self.file.name if is_url(self.file.name) else str(self.file.path)  # from any working folder
            file = {"name": name, "hash": self.file.hash}
        return {"file": file, "projection": None if self.projection is None else self.projection.as_json()}


def takes_features(config: ImageConfig) -> bool:
    return config.has("features_channels")


def open_pretrained(
    config: ImageConfig,
    files: ImageFiles,
    folds: Folds,
    fold: int,
    folder: Path,
    device: torch.device,
    weights: Weights | None = None,
) -> Pretrained | None:
    """What the method of a fold needs, or None. Nothing is learnt from the fold's own images, or from any mask.

    ``weights`` are the files that have been opened already. What was found is recorded in ``folder``, and when the fold
    resumes with other weights, it is refused.
    """
    file = weights_of(config, folds, fold, weights)
    network = open_network(config, file, len(files.task.classes), device)
    if network is None:
        return None
    path = folder / FILE
    recorded = json.loads(path.read_text()) if path.exists() else None
    if recorded is None:
        stems = training_sample(folds, fold, files)
        found = Pretrained(config, network, file, _projection(config, network, files, stems))
        write_json(path, found.as_json())
        return found
    before = recorded["file"] and recorded["file"]["hash"]
    if before != (file and file.hash):
        raise UserError(f"{path}: the weights in {file and file.name} have changed since. Choose another folder")
    return Pretrained(config, network, file, recorded["projection"] and read_projection(recorded["projection"]))


def example(
    config: ImageConfig, files: ImageFiles, device: torch.device, weights: Weights | None = None
) -> Pretrained | None:
    """With the model of the first fold, and components of few images: to measure it, not to score it."""
    file = weights_of(config, None, 0, weights)
    network = open_network(config, file, len(files.task.classes), device)
    if network is None:
        return None
    return Pretrained(config, network, file, _projection(config, network, files, list(files.stems[:2])))


def read_pretrained(
    config: ImageConfig, recorded: Mapping[str, Any], classes: int, device: torch.device
) -> Pretrained | None:
    """The same from its record, for images that belong to no fold; changed weights are refused."""
    file = None
    if recorded["file"]:
        file = open_shared(recorded["file"]["name"])
        if file.hash != recorded["file"]["hash"]:
            raise UserError(f"{file.name}: has changed since the masks of the run were made")
    network = open_network(config, file, classes, device)
    projection = recorded["projection"] and read_projection(recorded["projection"])
    return None if network is None else Pretrained(config, network, file, projection)


def weights_of(config: ImageConfig, folds: Folds | None, fold: int, weights: Weights | None) -> SharedFile | None:
    """The file of weights that a fold starts from, if there is one; models of other ``folds`` are refused."""
    if config.features == "fold":
        name = str(config.features_from)
        if weights is not None:
            return weights[fold_file(name, fold)]
        models = open_fold_models(name)
        if folds is not None:
            models.check_folds(folds)
        return models.files[fold]
    network = config.network
    return None if network is None else file_of(network, (weights or {}).get(str(network.weights_file)), needed=True)


def training_sample(folds: Folds, fold: int, files: ImageFiles) -> list[str]:
    """Some training images of a fold, the same for every config."""
    stems = folds.training(fold)
    chosen = np.random.default_rng((SAMPLE, folds.seed, fold)).permutation(len(stems))[:TRAINING_IMAGES]
    return [stems[place] for place in sorted(chosen.tolist())]


def _projection(
    config: ImageConfig, network: PretrainedNetwork, files: ImageFiles, stems: list[str]
) -> Projection | None:
    if not takes_features(config):
        return None
    kept = network.probability_channels if config.features == "fold" else 0
    channels = config.features_channels or (kept or CHANNELS)
    if channels <= kept:
        return None
    return fit_projection((_maps(config, network, *files.read(stem)) for stem in stems), channels, kept)


def _maps(config: ImageConfig, network: PretrainedNetwork, image: Pixels, scribble: Pixels) -> torch.Tensor:
    return (network.encoder_maps if config.features == "encoder" else network.decoder_maps)(image, scribble)


def _digest(image: Pixels, scribble: Pixels) -> str:
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(image.tobytes())
    digest.update(scribble.tobytes())
    return digest.hexdigest()[:32]
