"""A picture of the images on which two configs differ most, each predicted by the fold model that held it out."""

from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from analysis.answer.comparison import Compared, image_rows
from analysis.answer.document import full_config
from search.runs.run_tables import RunTables
from trainable.augmentation.preview import BACKGROUND_COLOUR, FOREGROUND_COLOUR, GAP, TILE, caption, join, overlay, tile
from trainable.config import make_config
from trainable.data.dataset import Pixels, Split, read_image, read_mask, read_scribble
from trainable.data.decoded_images import Data, open_data, pack
from trainable.errors import UserError
from trainable.machine.device import pick_device
from trainable.storage.atomic_files import write_atomically
from trainable.storage.cached_copies import data_folder
from trainable.training.checkpoint import BEST, load_network
from trainable.training.evaluate import original_probabilities

MISSED, INVENTED = (70, 130, 255), (255, 140, 0)
CAPTIONS = ("image", "scribble, truth outlined", "truth", "prediction of A", "prediction of B", "where they differ")
LEGEND = "blue: false negative; orange: false positive; green: only A is right; red: only B is right"


class NoPictures(UserError):
    """Data or models that pictures need are not on this machine."""


def draw_disagreements(tables: RunTables, compared: Compared, count: int, path: Path, device: str = "auto") -> int:
    """Write a picture of the images that differ most and return their number."""
    rows = image_rows(compared)[:count]
    if not rows:
        raise NoPictures("no image was held out by both configs, so there is no image to show")
    place = pick_device(device)
    split = _data(tables, compared.config).split
    ours, theirs = (_masks(tables, config, rows, place) for config in (compared.config, compared.other))
    width = len(CAPTIONS) * (TILE + GAP) - GAP
    parts = [caption([LEGEND], width), caption(CAPTIONS)]
    for row in rows:
        stem = row["stem"]
        title = f"{stem}, fold {row['fold']}: {tables.metric} {row['a']:.3f} (A) and {row['b']:.3f} (B)"
        parts += [caption([title], width), _drawn(split, stem, ours[stem], theirs[stem])]
    score_matrix = cv2.imencode(".png", cv2.cvtColor(join(parts, axis=0), cv2.COLOR_RGB2BGR))[1]
    write_atomically(path, lambda file: file.write(score_matrix.tobytes()))
    return len(rows)


def _masks(tables: RunTables, config: str, rows: list[dict[str, Any]], device: torch.device) -> dict[str, Pixels]:
    """Predict each image with the best weights of the fold that held it out."""
    stems = defaultdict(list)
    for row in rows:
        stems[row["fold"]].append(row["stem"])
    data, masks = _data(tables, config), dict[str, Pixels]()
    tables.run.fetch(*(f"configs/{config}/fold_{fold}/{BEST}" for fold in stems))
    for fold, wanted in stems.items():
        path = tables.folder(config, fold) / BEST
        if not path.exists():
            raise NoPictures(f"{path} does not exist")
        network, trained, state = load_network(path, str(device))
        if data.hash != state["data_hash"]:
            raise NoPictures(f"{tables.space.settings.data} contains other data than {path} was trained on")
        batch = min(trained.batch_size, len(wanted))
        found = original_probabilities(network, data, data.indices(wanted), batch, device, lambda: nullcontext())
        masks |= {data.stems[index]: (map_ > trained.tau).astype(np.uint8) for index, map_, _ in found}
    return masks


def _data(tables: RunTables, config: str) -> Data:
    try:
        return open_data(data_folder(str(tables.space.settings.data)), make_config(full_config(tables, config)).size)
    except UserError as error:
        raise NoPictures(str(error)) from None


def _drawn(split: Split, stem: str, ours: Pixels, theirs: Pixels) -> Pixels:
    image, scribble = read_image(split.images[stem]), read_scribble(split.scribbles[stem])
    truth = read_mask(split.truth[stem])
    pictures = [
        image,
        overlay(image, pack(scribble, truth)),
        np.repeat(truth[..., None] * np.uint8(255), 3, axis=2),
        _errors(ours, truth),
        _errors(theirs, truth),
        _difference(ours, theirs, truth),
    ]
    return join([tile(picture) for picture in pictures], axis=1)


def _errors(mask: Pixels, truth: Pixels) -> Pixels:
    """White for true positives, blue for false negatives, orange for false positives."""
    drawn = np.zeros((*truth.shape, 3), np.uint8)
    drawn[(mask > 0) & (truth > 0)] = 255
    drawn[(mask == 0) & (truth > 0)] = MISSED
    drawn[(mask > 0) & (truth == 0)] = INVENTED
    return drawn


def _difference(ours: Pixels, theirs: Pixels, truth: Pixels) -> Pixels:
    """Pixels on which they disagree: green if the first is right, red if the second is."""
    drawn = np.repeat((40 + 60 * truth)[..., None].astype(np.uint8), 3, axis=2)
    drawn[(ours != theirs) & (ours == truth)] = FOREGROUND_COLOUR
    drawn[(ours != theirs) & (theirs == truth)] = BACKGROUND_COLOUR
    return drawn
