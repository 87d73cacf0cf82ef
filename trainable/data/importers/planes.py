"""Slices of a volume as images: intensity window, pixel size, crop."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Values = npt.NDArray[Any]


def planes_of(volume: Values, axis: int) -> Values:
    """(slice, y, x) from (x, y, slice), or from another slice axis with the order of the others kept."""
    return np.moveaxis(volume, axis, 0).transpose(0, 2, 1)


def windowed(volume: Values, window: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Intensities between two percentiles of the volume, stretched to 0..255; those outside are clipped."""
    low, high = np.percentile(volume, window)
    scale = 255 / (high - low) if high > low else 0.0
    return np.asarray((np.clip(volume, low, high) - low) * scale, np.float32)


def resampled(plane: Values, size: tuple[int, int]) -> Values:
    """A plane of another (width, height): linear and antialiased for intensities, the nearest value for labels."""
    if plane.shape == size[::-1]:
        return plane
    linear = plane.dtype == np.float32
    resampling = Image.Resampling.BILINEAR if linear else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(plane).resize(size, resampling))


def centred(plane: Values, size: tuple[int, int], fill: float) -> Values:
    """Cut or fill around the centre to a (width, height)."""
    result = np.full(size[::-1], fill, plane.dtype)
    here, there = zip(*(_overlap(old, new) for old, new in zip(plane.shape, size[::-1], strict=True)), strict=True)
    result[there] = plane[here]
    return result


def _overlap(old: int, new: int) -> tuple[slice, slice]:
    """The range of the old axis that is kept, and where it lies on the new one."""
    length = min(old, new)
    before, after = (old - length) // 2, (new - length) // 2
    return slice(before, before + length), slice(after, after + length)
