"""What each fold model predicts for the images that it did not train on, at original size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from analysis.answer.document import full_config
from analysis.ensembles.ensemble import FlipAveraged, Flips
from analysis.tuning.trials import HeldOut
from search.runs.run_tables import RunTables
from trainable.config import make_config
from trainable.data.dataset import UNLABELLED, Pixels, image_sizes
from trainable.data.decoded_images import Data, open_data
from trainable.data.reading import read_image, read_scribble
from trainable.storage.cached_copies import data_folder
from trainable.training.checkpoint import BEST, load_network
from trainable.training.evaluate import original_probabilities, original_truth
from trainable.training.finish import PROBABILITIES
from trainable.training.labels import scored

Indices = npt.NDArray[np.int64]
HALF = 2  # bytes of a probability


def data_of(tables: RunTables, config: str) -> Data:
    """The data of a run as a config sees them; other data than those of the run are an error."""
    data = open_data(data_folder(str(tables.space.settings.data)), make_config(full_config(tables, config)).size)
    tables.run.folds(data.hash)
    return data


def held_out_images(
    tables: RunTables,
    configs: Sequence[str],
    data: Data,
    device: torch.device,
    scratch: Path,
    note: Callable[[], None],
    tta: Flips = "none",
) -> list[HeldOut]:
    """All images with their out-of-fold probabilities; those that training did not keep are computed again.

    So are all if ``tta`` averages them over flips. Those of several configs are averaged. Probabilities have half
    precision in all cases. ``note`` is called after each image of each config.
    """
    folds = tables.run.folds()
    sources = [_Source(tables, config, data_of(tables, config), device, tta) for config in configs]
    found = []
    for fold in range(folds.count):
        indices = scored_indices(data, data.indices(folds.held_out(fold)))
        places = [source.probabilities(fold, indices, scratch, note) for source in sources]
        for index, *paths in zip(indices.tolist(), *places, strict=True):
            pixels = scratch / f"pixels-{index}.npy"
            np.save(pixels, _pixels(data, data.stems[index]))
            found.append(HeldOut(data.stems[index], fold, pixels, _average(paths, scratch / f"average-{index}.npy")))
    return found


@dataclass(frozen=True)
class _Source:
    """A config, whose fold models predict images of which it sees ``data``."""

    tables: RunTables
    config: str
    data: Data
    device: torch.device
    tta: Flips

    def probabilities(self, fold: int, indices: Indices, scratch: Path, note: Callable[[], None]) -> list[Path]:
        """The files of what a fold model predicts: those that training kept if all are there, else new ones."""
        folder = self.tables.folder(self.config, fold)
        kept = [folder / PROBABILITIES / f"{self.data.stems[index]}.npy" for index in indices]
        if self.tta == "none" and all(path.exists() for path in kept):
            for _ in kept:
                note()
            return kept
        network, config, _ = load_network(folder / BEST, str(self.device))
        averaged, batch = FlipAveraged(network, self.tta), min(config.batch_size, len(indices))
        predicted = original_probabilities(averaged, self.data, indices, batch, self.device, lambda: nullcontext())
        for index, probability, _ in predicted:
            np.save(scratch / f"{self.config}-{index}.npy", probability.astype(np.float16))
            note()
        return [scratch / f"{self.config}-{index}.npy" for index in indices]


def _average(paths: Sequence[Path], target: Path) -> Path:
    """The only file, or a file with the mean of several, of which those in the same folder are removed."""
    if len(paths) == 1:
        return paths[0]
    mean = np.mean([np.load(path).astype(np.float32) for path in paths], axis=0)
    np.save(target, mean.astype(np.float16))
    for path in paths:
        if path.parent == target.parent:
            path.unlink()
    return target


def room_needed(data: Data, settings: int, configs: int = 1) -> int:
    """The bytes of all images, their probabilities, and those that this many settings of a step turn them into.

    Probabilities of several configs are here until they are averaged.
    """
    maps = 1 if data.task.binary else len(data.task.classes)
    stems = [data.stems[index] for index in np.flatnonzero(scored(data))]
    pixels = sum(width * height for width, height in image_sizes(data.split.images[stem] for stem in stems))
    return pixels * (data.channels + 2 + HALF * maps * (configs + settings))


def scored_indices(data: Data, indices: Indices) -> Indices:
    """Those images that have what the data set is scored on."""
    return indices[scored(data)[indices]]


def _pixels(data: Data, stem: str) -> Pixels:
    """The image, its scribble, and what it is scored on."""
    split, truth = data.split, original_truth(data, stem)
    image = read_image(split.images[stem], "L" if data.channels == 1 else "RGB")
    marked = stem in split.scribbles
    scribble = read_scribble(split.scribbles[stem], split.task) if marked else np.full_like(truth, UNLABELLED)
    return np.dstack([image, scribble, truth])
