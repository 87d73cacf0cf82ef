"""Convolutions at a few pixels only, the sites, of many images at once, each image with weights of its own.

A loss on scribbles depends on the scribbled pixels and on what the receptive field around them covers, which is some
hundredths of an image. A layer is a matrix product of the patches that its sites need; its gradients, and the
gradients of these, are those of the convolution of the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Indices = npt.NDArray[np.int64]


class Gather(torch.autograd.Function):
    """Rows of ``rows`` at ``index`` (n, k); ``inverse`` (m, k) lists for each row where it is gathered to."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return F.embedding(index, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return GatherSum.apply(gradients[0].flatten(0, 1), inverse, index), None, None


class GatherSum(torch.autograd.Function):
    """The transpose of ``Gather``: per line of ``index`` the sum of the rows that it lists."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return F.embedding_bag(index, rows, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return Gather.apply(gradients[0], inverse, index).flatten(0, 1), None, None


@dataclass(frozen=True)
class Layer:
    """The sites of a layer; their patches consist of rows of the layer below, of all images one below the other."""

    links: tuple[Tensor, Tensor] | None  # index and inverse of ``Gather``; None if a patch is the site itself
    valid: Tensor  # (images, sites, 1): 1, or 0 for what only fills up


def gather(rows: Tensor, layer: Layer) -> Tensor:
    """(images, sites below, channels) -> (images, sites, kernel * kernel * channels)."""
    if layer.links is None:
        return rows
    patches: Tensor = Gather.apply(rows.flatten(0, 1), *layer.links)
    return patches.view(len(rows), -1, patches.shape[1] * rows.shape[2])


def around(positions: Indices, size: tuple[int, int], kernel: int) -> Indices:
    """The positions (n, 2) within the kernel around these, in the order of rows."""
    seen = np.zeros(size, np.uint8)
    seen[positions[:, 0], positions[:, 1]] = 1
    return np.argwhere(cv2.dilate(seen, np.ones((kernel, kernel), np.uint8)))


def links(positions: Indices, below: Indices, size: tuple[int, int], kernel: int) -> tuple[Indices, Indices]:
    """Per position the rows of ``below`` in its patch, and per row of ``below`` the patches' entries that are it.

    What does not exist (outside the image, or of no patch) is -1.
    """
    half = kernel // 2
    offsets = np.stack(np.meshgrid(*2 * [np.arange(-half, half + 1)], indexing="ij"), -1).reshape(-1, 2)

    def numbers(of: Indices) -> Indices:
        numbered = np.full((size[0] + 2 * half, size[1] + 2 * half), -1)
        numbered[of[:, 0] + half, of[:, 1] + half] = np.arange(len(of))
        return numbered

    def at(numbered: Indices, places: Indices) -> Indices:
        return numbered[places[..., 0] + half, places[..., 1] + half]

    index = at(numbers(below), positions[:, None] + offsets)
    sources = at(numbers(positions), below[:, None] - offsets)
    return index, np.where(sources < 0, -1, sources * len(offsets) + np.arange(len(offsets)))


def stack_layers(
    positions: Sequence[Sequence[Indices]], sizes: Sequence[tuple[int, int]], kernel: int, device: torch.device
) -> list[Layer]:
    """The layers of a batch from each image's positions, of the inputs first.

    Every layer of an image is filled up to one site more than the most, so that the last one of each is empty: what
    lies outside the image.
    """
    counts = [max(map(len, layer)) + 1 for layer in zip(*positions, strict=True)]
    layers = []
    for depth in range(1, len(counts)):
        valid = torch.zeros(len(positions), counts[depth], 1)
        for number, image in enumerate(positions):
            valid[number, : len(image[depth])] = 1
        if kernel == 1:
            layers.append(Layer(None, valid.to(device)))
            continue
        entries = kernel * kernel
        index = np.full((len(positions), counts[depth], entries), -1)
        inverse = np.full((len(positions), counts[depth - 1], entries), -1)
        for number, (image, size) in enumerate(zip(positions, sizes, strict=True)):
            there, back = links(image[depth], image[depth - 1], size, kernel)
            index[number, : len(there)], inverse[number, : len(back)] = there, back
        gathered = _absolute(index, counts[depth - 1]), _absolute(inverse, counts[depth] * entries)
        layers.append(Layer((gathered[0].to(device), gathered[1].to(device)), valid.to(device)))
    return layers


def _absolute(index: Indices, stride: int) -> Tensor:
    """Rows of all images one below the other from rows of each image; what does not exist is the last of the image."""
    first = np.arange(len(index))[:, None, None] * stride
    absolute = np.where(index < 0, stride - 1, index) + first
    return torch.from_numpy(absolute.astype(np.int32).reshape(-1, index.shape[2]))
