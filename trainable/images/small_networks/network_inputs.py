"""What a small network sees of an image, and the scribbled pixels that it learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainable.data.dataset import UNLABELLED
from trainable.images.method import ScribbledImage

Positions = npt.NDArray[np.int64]  # (n, 2): rows and columns


@dataclass(frozen=True)
class ScribbleSample:
    """Scribbled pixels of an image; their weights add up to 1."""

    positions: Positions
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


def sample_scribbles(image: ScribbledImage, most: int) -> ScribbleSample:
    """All scribbled pixels, or a share of each class's, at least one, with weights that make up for those left out."""
    rng = np.random.default_rng(image.seed)
    positions = np.argwhere(image.scribble != UNLABELLED)
    labels = image.scribble[positions[:, 0], positions[:, 1]].astype(np.int64)
    kept, weights = [], []
    for label in np.unique(labels):
        there = np.flatnonzero(labels == label)
        count = max(1, len(there) * min(most, len(labels)) // len(labels))
        kept.append(np.sort(rng.choice(there, count, replace=False)))
        weights.append(np.full(count, len(there) / count / len(labels), np.float32))
    order = np.concatenate(kept)
    return ScribbleSample(positions[order], labels[order], np.concatenate(weights))


def part_sizes(image: ScribbledImage, inputs: str) -> dict[str, int]:
    """The channels of each part of the inputs, in their order."""
    features = 0 if image.features is None else image.features.shape[2]
    counts = {"colour": image.image.shape[2], "xy": 2, "features": features}
    return {part: counts[part] for part in inputs.split("+")}


def channels_of(image: ScribbledImage, inputs: str, wanted: str) -> slice:
    """Where a part is among the channels of the inputs."""
    start = 0
    for part, count in part_sizes(image, inputs).items():
        if part == wanted:
            return slice(start, start + count)
        start += count
    return slice(0, 0)


def inputs_at(image: ScribbledImage, inputs: str, rows: Positions, columns: Positions) -> Tensor:
    """(..., C) at rows and columns, which are broadcast. Colours are from -1 to 1, coordinates from -1/2 to 1/2."""
    height, width = image.scribble.shape
    parts: list[npt.NDArray[np.float32]] = []
    for part in part_sizes(image, inputs):
        if part == "colour":
            parts.append(image.image[rows, columns].astype(np.float32) / 127.5 - 1)
        elif part == "xy":
            places = (columns / max(width - 1, 1), rows / max(height - 1, 1))
            parts.append(np.stack(np.broadcast_arrays(*places), -1).astype(np.float32) - 0.5)
        elif image.features is not None:
            parts.append(_interpolated(image.features, rows, columns, height, width))
    return torch.from_numpy(np.concatenate(parts, -1))


def _interpolated(
    features: npt.NDArray[np.floating], rows: Positions, columns: Positions, height: int, width: int
) -> npt.NDArray[np.float32]:
    """Features at pixels of an image of this size, between the nearest four of theirs."""
    if features.shape[:2] == (height, width):
        return features[rows, columns].astype(np.float32)
    parts = []
    for places, length, own in ((rows, height, features.shape[0]), (columns, width, features.shape[1])):
        at = np.clip((places + 0.5) * (own / length) - 0.5, 0, own - 1)
        first = np.minimum(at.astype(np.int64), max(own - 2, 0))
        parts.append((first, np.minimum(first + 1, own - 1), (at - first).astype(np.float32)[..., None]))
    (top, bottom, down), (left, right, across) = parts
    above = features[top, left] * (1 - across) + features[top, right] * across
    below = features[bottom, left] * (1 - across) + features[bottom, right] * across
    found: npt.NDArray[np.float32] = above * (1 - down) + below * down
    return found


def window_inputs(image: ScribbledImage, inputs: str, rows: range, columns: range) -> Tensor:
    """(C, h, w) of a window of the image."""
    return inputs_at(image, inputs, np.array(rows)[:, None], np.array(columns)[None]).permute(2, 0, 1).contiguous()
