"""A picture of the augmentation levels: samples with their scribbles and the outline of the mask."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from trainable.augmentation.batches import SAMPLE
from trainable.augmentation.levels import Augmentation, levels
from trainable.data import scribbles
from trainable.data.class_colours import (
    BACKGROUND_SCRIBBLE,
    COLOURS,
    FOREGROUND_SCRIBBLE,
    SCRIBBLES_LEGEND,
    TRUTH,
    WHITE,
    Legend,
    coloured,
    names_with_colours,
)
from trainable.data.dataset import IGNORED, Pixels
from trainable.data.decoded_images import Data
from trainable.data.labelled import SCRIBBLES
from trainable.data.packed_labels import unpack, without_mask
from trainable.storage.atomic_files import write_atomically

TILE, GAP, CAPTION, MARGIN = 240, 6, 22, 30
FONT = (cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)


def draw_samples(data: Data, count: int, seed: int) -> Pixels:
    """Three columns (image, scribble, mask), then one per level and recipe; each sample has two rows.

    The two rows of a sample are two epochs.
    """
    chosen = np.random.default_rng(seed).permutation(len(data.stems))[:count]
    classes, scribbled = len(data.task.classes), bool(data.scribbled.any())
    supervision = data.scored_on  # by scribbles if no image has a mask
    augmentations = {
        level: Augmentation(level, data.size, classes, supervision, scribbled) for level in levels(data.size)
    }
    names = ["image", "scribble", "mask", *(f"augmentation: {level}" for level in augmentations)]
    entries: Legend = (*SCRIBBLES_LEGEND, ("outline of the mask", TRUTH))
    if not data.task.binary:
        entries = (*names_with_colours(data.task.classes), ("background scribble", WHITE))
    rows = [legend(entries, len(names) * (TILE + GAP) - GAP), caption(names)]
    for index in sorted(chosen.tolist()):
        labels = without_mask(data.labels[index]) if supervision == SCRIBBLES else data.labels[index]
        for epoch in range(2):
            tiles = _plain(data, index) if epoch == 0 else [_blank(data)] * 3
            for augmentation in augmentations.values():
                key = (SAMPLE, seed, 0, epoch, index)
                augmented = augmentation(data.images[index], labels, key)
                tiles.append(tile(overlay(*augmented, classes)))
            rows.append(join(tiles, axis=1))
    return join(rows, axis=0)


def save_samples(data: Data, path: Path, count: int, seed: int) -> None:
    sheet = draw_samples(data, count, seed)
    encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    write_atomically(path, lambda file: file.write(encoded.tobytes()))


def overlay(image: Pixels, labels: Pixels, classes: int = 2) -> Pixels:
    """The image with its scribbles and the outline of its mask.

    Of more than two classes, both have the colour of their class, and background scribbles are white.
    """
    scribble, mask = unpack(labels)
    drawn = three_channels(image)
    if classes > 2:
        return _overlay_of_classes(drawn, scribble, mask, classes)
    outline = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    for where, colour in (
        (outline > 0, TRUTH),
        (scribble == scribbles.FOREGROUND_STROKE, FOREGROUND_SCRIBBLE),
        (scribble == scribbles.BACKGROUND_STROKE, BACKGROUND_SCRIBBLE),
    ):
        drawn[where] = colour
    return drawn


def three_channels(image: Pixels) -> Pixels:
    """A copy with three channels, also of a grey image."""
    planes = image if image.ndim == 3 else image[..., None]
    return np.repeat(planes, 3 // planes.shape[2], axis=2)


def _overlay_of_classes(drawn: Pixels, scribble: Pixels, mask: Pixels, classes: int) -> Pixels:
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    edges = np.zeros(mask.shape, bool)
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    edges &= (mask > 0) & (mask < IGNORED)  # the outline lies inside a structure, so that it has its colour
    drawn[edges] = coloured(mask)[edges]
    for label in range(classes):
        drawn[scribble == label + 1] = COLOURS[label] if label else WHITE
    return drawn


def _plain(data: Data, index: int) -> list[Pixels]:
    image, (scribble, mask) = three_channels(np.array(data.images[index])), unpack(data.labels[index])
    if not data.task.binary:
        strokes = np.where((scribble > 0)[..., None], coloured(scribble - 1), np.uint8(40))
        strokes[scribble == 1] = WHITE
        return [tile(picture) for picture in (image, strokes, coloured(mask))]
    strokes = np.full_like(image, 40)
    strokes[scribble == scribbles.FOREGROUND_STROKE] = FOREGROUND_SCRIBBLE
    strokes[scribble == scribbles.BACKGROUND_STROKE] = BACKGROUND_SCRIBBLE
    return [tile(picture) for picture in (image, strokes, np.repeat(mask[..., None] * np.uint8(255), 3, axis=2))]


def tile(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (TILE, round(TILE * height / width)), interpolation=cv2.INTER_AREA), np.uint8)


def _blank(data: Data) -> Pixels:
    return np.full((round(TILE * data.size[1] / data.size[0]), TILE, 3), 255, np.uint8)


def caption(words: Sequence[str], width: int = TILE) -> Pixels:
    """A line of text over each of as many tiles."""
    tiles = []
    for word in words:
        line = np.full((CAPTION, width, 3), 255, np.uint8)
        cv2.putText(line, word, (2, CAPTION - 7), *FONT)
        tiles.append(line)
    return join(tiles, axis=1)


def legend(entries: Sequence[tuple[str, tuple[int, int, int]]], width: int) -> Pixels:
    """A line of names, each after a square of its colour."""
    line, left = np.full((CAPTION, width, 3), 255, np.uint8), 2
    for name, colour in entries:
        cv2.rectangle(line, (left, 4), (left + 13, 17), colour, cv2.FILLED)
        cv2.rectangle(line, (left, 4), (left + 13, 17), (40, 40, 40), 1)
        cv2.putText(line, name, (left + 19, CAPTION - 7), *FONT)
        left += 19 + cv2.getTextSize(name, *FONT[:2], FONT[3])[0][0] + 16
    return line


def join(tiles: list[Pixels], axis: int) -> Pixels:
    shape = list(tiles[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([part for each in tiles for part in (each, gap)][:-1], axis=axis)
