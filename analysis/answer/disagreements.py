"""A picture of the images on which two configs differ most, as predicted when they were held out."""

from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from analysis.answer.comparison import Compared, image_metric, image_rows
from analysis.answer.document import full_config
from search.runs.fold_models import how_to_finish
from search.runs.run_tables import RunTables
from trainable.augmentation.preview import GAP, TILE, caption, join, legend, overlay, tile
from trainable.config import METHOD, make_config
from trainable.data.class_colours import (
    CONFIG_A,
    CONFIG_B,
    ERROR_LEGEND,
    SCRIBBLES_LEGEND,
    TRUTH,
    Legend,
    coloured,
    errors,
    names_with_colours,
)
from trainable.data.dataset import IGNORED, UNLABELLED, Pixels
from trainable.data.decoded_images import Data, open_data
from trainable.data.image_files import ImageFiles, open_files
from trainable.data.labelled import Labelled
from trainable.data.packed_labels import pack
from trainable.data.reading import read_image, read_scribble
from trainable.errors import UserError
from trainable.images.results import FILE as RESULTS
from trainable.images.results import stored_masks
from trainable.machine.device import pick_device
from trainable.printing import digits
from trainable.storage.atomic_files import write_atomically
from trainable.storage.cached_copies import data_folder
from trainable.training.checkpoint import BEST, load_network
from trainable.training.evaluate import classified, original_probabilities, original_truth

CAPTIONS = ("image", "scribble, truth outlined", "truth", "prediction of A", "prediction of B", "where they differ")
BOTH_LEGEND: Legend = (("only A is right", CONFIG_A), ("only B is right", CONFIG_B))
DIMMED = "Predictions are bright where they are wrong, and white where they missed a structure."


class NoPictures(UserError):
    """Data or models that pictures need are not on this machine."""


def draw_disagreements(tables: RunTables, compared: Compared, count: int, path: Path, device: str = "auto") -> int:
    """Write a picture of the images that differ most and return their number."""
    rows = image_rows(compared)[:count]
    if not rows:
        raise NoPictures("no image was held out by both configs, so there is no image to show")
    place = pick_device(device)
    data = _data(tables, compared.config)
    ours, theirs = (_masks(tables, config, rows, place) for config in (compared.config, compared.other))
    width = len(CAPTIONS) * (TILE + GAP) - GAP
    entries: Legend = (*SCRIBBLES_LEGEND, ("outline of the truth", TRUTH), *ERROR_LEGEND, *BOTH_LEGEND)
    note = ""
    if not data.task.binary:
        entries, note = (*names_with_colours(data.task.classes), *BOTH_LEGEND), DIMMED
    parts = [legend(entries, width), *([caption([note], width)] if note else []), caption(CAPTIONS)]
    for row in rows:
        stem = row["stem"]
        title = f"{stem}, fold {row['fold']}: {image_metric(tables)} {digits(row['a'])} (A) and {digits(row['b'])} (B)"
        parts += [caption([title], width), _drawn(data, stem, ours[stem], theirs[stem])]
    score_matrix = cv2.imencode(".png", cv2.cvtColor(join(parts, axis=0), cv2.COLOR_RGB2BGR))[1]
    write_atomically(path, lambda file: file.write(score_matrix.tobytes()))
    return len(rows)


def _masks(tables: RunTables, config: str, rows: list[dict[str, Any]], device: torch.device) -> dict[str, Pixels]:
    """Predict each image with the best weights of the fold that held it out."""
    stems = defaultdict(list)
    for row in rows:
        stems[row["fold"]].append(row["stem"])
    data, masks = _data(tables, config), dict[str, Pixels]()
    if not isinstance(data, Data):
        tables.run.fetch(*(f"configs/{config}/fold_{fold}/{RESULTS}" for fold in stems))
        for fold, wanted in stems.items():
            masks |= stored_masks(tables.folder(config, fold), wanted)
        return masks
    tables.run.fetch(*(f"configs/{config}/fold_{fold}/{BEST}" for fold in stems))
    for fold, wanted in stems.items():
        path = tables.folder(config, fold) / BEST
        if not path.exists():
            raise NoPictures(f"{path} does not exist: {how_to_finish(tables.run, config)}")
        network, trained, state = load_network(path, str(device))
        if data.hash != state["data_hash"]:
            raise NoPictures(f"{tables.space.settings.data} contains other data than {path} was trained on")
        batch = min(trained.batch_size, len(wanted))
        found = original_probabilities(network, data, data.indices(wanted), batch, device, lambda: nullcontext())
        masks |= {data.stems[index]: classified(probability, trained.tau) for index, probability, _ in found}
    return masks


def _data(tables: RunTables, config: str) -> Data | ImageFiles:
    try:
        folder, values = data_folder(str(tables.space.settings.data)), full_config(tables, config)
        return open_files(folder) if METHOD in values else open_data(folder, make_config(values).size)
    except UserError as error:
        raise NoPictures(str(error)) from None


def _drawn(data: Labelled, stem: str, ours: Pixels, theirs: Pixels) -> Pixels:
    split, task = data.split, data.task
    image, truth = read_image(split.images[stem]), original_truth(data, stem)
    scribble = (
        read_scribble(split.scribbles[stem], task) if stem in split.scribbles else np.full_like(truth, UNLABELLED)
    )
    two = np.repeat((truth == 1)[..., None] * np.uint8(255), 3, axis=2)
    pictures = [
        image,
        overlay(image, pack(scribble, truth), len(task.classes)),
        two if task.binary else coloured(truth),
        errors(ours, truth, task),
        errors(theirs, truth, task),
        _difference(ours, theirs, truth),
    ]
    return join([tile(picture) for picture in pictures], axis=1)


def _difference(ours: Pixels, theirs: Pixels, truth: Pixels) -> Pixels:
    """Pixels on which they disagree, in the colour of the config that is right."""
    drawn = np.repeat((40 + 60 * ((truth > 0) & (truth < IGNORED)))[..., None].astype(np.uint8), 3, axis=2)
    drawn[(ours != theirs) & (ours == truth)] = CONFIG_A
    drawn[(ours != theirs) & (theirs == truth)] = CONFIG_B
    return drawn
