"""What each fold model predicts for the images that it did not train on, at original size."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from analysis.answer.document import full_config
from analysis.ensembles.assemble import needs_models
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
    config: str,
    data: Data,
    device: torch.device,
    scratch: Path,
    note: Callable[[], None],
    tta: Flips = "none",
) -> list[HeldOut]:
    """All images with their out-of-fold probabilities; those that training did not keep are computed again.

    So are all if ``tta`` averages them over flips. Probabilities have half precision in all cases. ``note`` is called
    after each image.
    """
    folds = tables.run.folds()
    held_out = {fold: scored_indices(data, data.indices(folds.held_out(fold))) for fold in range(folds.count)}
    kept = {fold: tables.folder(config, fold) / PROBABILITIES for fold in held_out}
    complete = {
        fold
        for fold, folder in kept.items()
        if tta == "none" and all((folder / f"{data.stems[i]}.npy").exists() for i in held_out[fold])
    }
    if len(complete) < len(held_out):
        needs_models(tables.run, config)
    found = []
    for fold, indices in held_out.items():
        if fold not in complete:
            _predict(tables.folder(config, fold) / BEST, tta, data, indices, device, scratch, note)
        for index in indices.tolist():
            stem = data.stems[index]
            pixels = scratch / f"pixels-{index}.npy"
            np.save(pixels, _pixels(data, stem))
            probability = kept[fold] / f"{stem}.npy" if fold in complete else scratch / f"probability-{index}.npy"
            found.append(HeldOut(stem, fold, pixels, probability))
            if fold in complete:
                note()
    return found


def room_needed(data: Data, settings: int) -> int:
    """The bytes of all images, their probabilities, and those that this many settings of a step turn them into."""
    maps = 1 if data.task.binary else len(data.task.classes)
    stems = [data.stems[index] for index in np.flatnonzero(scored(data))]
    pixels = sum(width * height for width, height in image_sizes(data.split.images[stem] for stem in stems))
    return pixels * (data.channels + 2 + HALF * maps * (1 + settings))


def scored_indices(data: Data, indices: Indices) -> Indices:
    """Those images that have what the data set is scored on."""
    return indices[scored(data)[indices]]


def _predict(
    model: Path, tta: Flips, data: Data, indices: Indices, device: torch.device, scratch: Path, note: Callable[[], None]
) -> None:
    network, config, _ = load_network(model, str(device))
    averaged, batch = FlipAveraged(network, tta), min(config.batch_size, len(indices))
    for index, probability, _ in original_probabilities(averaged, data, indices, batch, device, lambda: nullcontext()):
        np.save(scratch / f"probability-{index}.npy", probability.astype(np.float16))
        note()


def _pixels(data: Data, stem: str) -> Pixels:
    """The image, its scribble, and what it is scored on."""
    split, truth = data.split, original_truth(data, stem)
    image = read_image(split.images[stem], "L" if data.channels == 1 else "RGB")
    marked = stem in split.scribbles
    scribble = read_scribble(split.scribbles[stem], split.task) if marked else np.full_like(truth, UNLABELLED)
    return np.dstack([image, scribble, truth])
