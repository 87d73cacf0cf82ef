"""Random views of images as the stage sees them: crops with flips, colours and blur, on the device of the images.

All random numbers are drawn on the CPU from one generator, so views are the same on every device up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainable.config.stage_fields import view_sizes

BRIGHTNESS = CONTRAST = 0.4
SATURATION, HUE = 0.2, 0.1  # hue in turns
COLOUR_SHARE, GREY_SHARE, BLUR_SHARE, FLIP_SHARE = 0.8, 0.2, 0.5, 0.5
LARGEST_SIGMA, RADIUS = 1.5, 4  # of the blur, in pixels
RATIO = 4 / 3  # of the sides of a crop, compared with those of the view
# Brightness and two axes of colour: a saturation scales the latter two, a hue rotates them.
YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@dataclass(frozen=True)
class Crop:
    """The size of a view as (height, width), and the share of the image's area that it shows."""

    size: tuple[int, int]
    least: float
    most: float


def crops_of(size: tuple[int, int], small: int) -> list[Crop]:
    """Two views of most of an image and ``small`` ones of a part of it, for a working size (width, height)."""
    (width, height), (narrow, low) = view_sizes(size)
    return [Crop((height, width), 0.4, 1.0)] * 2 + [Crop((low, narrow), 0.05, 0.4)] * small


def random_views(images: Tensor, crop: Crop, rng: np.random.Generator) -> Tensor:
    """One view of each image; ``images`` is (B, C, H, W) with values from 0 to 1."""
    views = _cropped(images, crop, rng)
    return _blurred(_coloured(views, rng), rng)


def _cropped(images: Tensor, crop: Crop, rng: np.random.Generator) -> Tensor:
    count = len(images)
    area = rng.uniform(crop.least, crop.most, count)
    ratio = np.exp(rng.uniform(-np.log(RATIO), np.log(RATIO), count) / 2)
    sides = np.minimum(np.sqrt(area)[:, None] * np.stack([ratio, 1 / ratio], axis=1), 1.0)
    centres = rng.uniform(-1, 1, (count, 2)) * (1 - sides)
    flips = np.where(rng.random((count, 2)) < FLIP_SHARE, -1.0, 1.0)
    maps = np.zeros((count, 2, 3), np.float32)
    maps[:, [0, 1], [0, 1]], maps[:, :, 2] = sides * flips, centres
    grid = F.affine_grid(_on(maps, images), [count, images.shape[1], *crop.size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _coloured(views: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness and contrast, and for images of three channels also saturation, hue and greyness."""
    count = len(views)
    changed = rng.random(count) < COLOUR_SHARE
    brightness, contrast = (
        np.where(changed, rng.uniform(1 - most, 1 + most, count), 1.0) for most in (BRIGHTNESS, CONTRAST)
    )
    saturation = np.where(changed, rng.uniform(1 - SATURATION, 1 + SATURATION, count), 1.0)
    saturation = np.where(rng.random(count) < GREY_SHARE, 0.0, saturation)
    turn = np.where(changed, rng.uniform(-HUE, HUE, count), 0.0) * 2 * np.pi
    if views.shape[1] == 3:
        change = np.zeros((count, 3, 3))
        change[:, 0, 0] = 1.0
        change[:, [1, 2], [1, 2]] = (saturation * np.cos(turn))[:, None]
        change[:, 1, 2], change[:, 2, 1] = -saturation * np.sin(turn), saturation * np.sin(turn)
        to_yiq = np.array(YIQ)
        matrices = _on(np.linalg.inv(to_yiq) @ change @ to_yiq, views)
        views = torch.bmm(matrices, views.flatten(2)).view_as(views)
    mean = views.mean((1, 2, 3), keepdim=True)
    gain, light = (_on(factor, views).view(-1, 1, 1, 1) for factor in (contrast, brightness))
    return (((views - mean) * gain + mean) * light).clamp(0, 1)


def _blurred(views: Tensor, rng: np.random.Generator) -> Tensor:
    """A Gaussian blur of random width, one dimension after the other."""
    count, channels = views.shape[:2]
    sigma = np.where(rng.random(count) < BLUR_SHARE, rng.uniform(0.1, LARGEST_SIGMA, count), 1e-3)
    places = np.arange(-RADIUS, RADIUS + 1)
    kernels = np.exp(-0.5 * (places / sigma[:, None]) ** 2)
    kernels /= kernels.sum(axis=1, keepdims=True)
    weights = _on(kernels, views).repeat_interleave(channels, 0)[:, None]
    stacked = views.reshape(1, count * channels, *views.shape[2:])
    padded = F.pad(stacked, (RADIUS, RADIUS, RADIUS, RADIUS), mode="reflect")
    rows = F.conv2d(padded, weights[:, :, None, :], groups=count * channels)
    return F.conv2d(rows, weights[:, :, :, None], groups=count * channels).view_as(views)


def _on(values: np.ndarray, like: Tensor) -> Tensor:
    """These numbers beside a tensor, without waiting for its device."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    return tensor.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else tensor
