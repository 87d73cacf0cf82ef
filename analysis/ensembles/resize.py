"""Lanczos and nearest-neighbour resizing as matrix products.

Training images are resized by Pillow. An ensemble does the same inside the model, on any device and in an exported
graph, for any size: the filters are one matrix per axis, computed from the size.
"""

import torch
from torch import Tensor

LOBES = 3.0


def lanczos(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H, W, C) floats in 0..255 to (B, height, width, C), like Pillow, except for rounding to bytes."""
    width, height = size
    across = _lanczos_matrix(images[0, 0, :, 0], width)
    down = _lanczos_matrix(images[0, :, 0, 0], height)
    # Pillow clips to bytes after each axis.
    narrow = torch.einsum("ow,bhwc->bhoc", across, images).clamp(0, 255)
    return torch.einsum("oh,bhwc->bowc", down, narrow).clamp(0, 255)


def nearest(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H, W) labels to (B, height, width): the pixel under the centre of the new one."""
    width, height = size
    rows, columns = _nearest_indices(labels[0, :, 0], height), _nearest_indices(labels[0, 0, :], width)
    return labels.index_select(1, rows).index_select(2, columns)


def _lanczos_matrix(axis: Tensor, out: int) -> Tensor:
    """(out, in), with rows that sum to one; the length may be symbolic in an exported graph."""
    place = torch.arange(axis.shape[0], device=axis.device, dtype=torch.float32)
    scale = (place[-1] + 1) / out
    stretch = scale.clamp(min=1.0)  # the filter does not shrink when enlarging
    middle = (torch.arange(out, device=axis.device, dtype=torch.float32) + 0.5) * scale
    reach = LOBES * stretch
    first, end = torch.floor(middle - reach + 0.5), torch.floor(middle + reach + 0.5)
    inside = (place >= first[:, None]) & (place < end[:, None])
    distance = (place - middle[:, None] + 0.5) / stretch
    kernel = torch.sinc(distance) * torch.sinc(distance / LOBES)
    weights = torch.where(inside & (distance.abs() < LOBES), kernel, torch.zeros_like(kernel))
    return weights / weights.sum(dim=1, keepdim=True)


def _nearest_indices(axis: Tensor, out: int) -> Tensor:
    place = torch.arange(axis.shape[0], device=axis.device, dtype=torch.float64)
    scale = (place[-1] + 1) / out
    middle = (torch.arange(out, device=axis.device, dtype=torch.float64) + 0.5) * scale
    return torch.floor(middle).to(torch.int64)
