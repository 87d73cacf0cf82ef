"""The images that a stage may see: those of a fold's training part, and splits without masks that a config names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainable.config import Config
from trainable.data.dataset import TRUTH, Pixels, find_splits
from trainable.data.decoded_images import Data, open_images
from trainable.data.folds import Folds
from trainable.errors import UserError, did_you_mean
from trainable.printing import Progress


@dataclass(frozen=True)
class Unlabelled:
    """Images of one size; ``parts`` are split and the images of it that may be seen."""

    parts: tuple[tuple[Data, npt.NDArray[np.int64]], ...]
    mean: list[float]
    std: list[float]

    @property
    def size(self) -> tuple[int, int]:
        return self.parts[0][0].size

    @property
    def channels(self) -> int:
        return self.parts[0][0].channels

    @property
    def classes(self) -> int:
        return len(self.parts[0][0].task.classes)

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        return [(part, int(index)) for part, (_, indices) in enumerate(self.parts) for index in indices]

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, numbers: Iterable[int]) -> Pixels:
        """The images of these numbers, (B, H, W, C)."""
        places = (self._places[number] for number in numbers)
        return np.stack([self.parts[part][0].images[index] for part, index in places])

    def facts(self) -> list[dict[str, Any]]:
        """What identifies the images."""
        return [{"data": data.hash, "stems": [data.stems[index] for index in indices]} for data, indices in self.parts]


def names_of(config: Config) -> list[str]:
    """The splits that a config adds to the training images of its stage."""
    return [] if config.pretraining_data is None else config.pretraining_data.split(",")


def images_for(
    config: Config, data: Data, folds: Folds, fold: int, cache: Path | None = None, progress: Progress | None = None
) -> Unlabelled:
    """The images of a fold's stage; labels are never opened for it."""
    training = data.indices(folds.training(fold))
    added = [open_unlabelled(data, name, cache, progress) for name in names_of(config)]
    images = Unlabelled(
        ((data, training), *((each, np.arange(len(each.stems), dtype=np.int64)) for each in added)),
        *data.statistics(training),
    )
    if config.pretraining_batch_size > len(images):
        raise UserError(
            f"pretraining_batch_size = {config.pretraining_batch_size}: larger than fold {fold}, "
            f"which has {len(images)} images to pre-train on"
        )
    return images


def open_unlabelled(data: Data, name: str, cache: Path | None = None, progress: Progress | None = None) -> Data:
    """The images of another split at the size of the training split, without its labels."""
    folder, what = data.split.root.parent, f"pretraining_data = {name}"
    splits = find_splits(folder)
    if name == data.split.name:
        raise UserError(f"{what}: is the split that is trained on; its training images are seen anyway")
    if name not in splits:
        raise UserError(f"{what}: {folder} has no such split, only {', '.join(splits)}.{did_you_mean(name, splits)}")
    if splits[name].truth:
        raise UserError(f"{what}: {splits[name].root} has {TRUTH}/; only splits without masks may be added")
    added = open_images(folder, data.size, name, cache, progress)
    if added.channels != data.channels:
        kinds = {1: "grey", 3: "coloured"}
        raise UserError(
            f"{what}: its images are {kinds[added.channels]}, those of {data.split.name} are {kinds[data.channels]}"
        )
    return added
