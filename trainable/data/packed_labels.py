"""Mask and scribble in one byte per pixel, so that one nearest-neighbour warp moves both and keeps them together.

The lower four bits hold the class of the mask, 15 where it is ignored; the upper four hold the class of the scribble
plus 1, 0 where there is none. A pixel that a warp fills with 0 is therefore unlabelled background.
"""

from typing import Any

import numpy as np

from trainable.data.dataset import Pixels

MASK_BITS, SCRIBBLE_SHIFT = 15, 4
BORDER_STEP = 4  # so that a border does not outweigh the drawn scribbles even more


def pack(scribble: Pixels, mask: Pixels) -> Pixels:
    """One byte per pixel of a scribble file's labels and a mask; 0 is "unlabelled, background", safe to fill with."""
    # 255 wraps around to 0, any other label becomes its class plus 1.
    return repack(scribble + np.uint8(1), mask)


def repack(scribble: Pixels, mask: Pixels) -> Pixels:
    """The inverse of ``unpack``."""
    packed: Pixels = np.left_shift(scribble, np.uint8(SCRIBBLE_SHIFT)) | mask
    return packed


def unpack(labels: Any) -> tuple[Any, Any]:
    """The scribble (0 unlabelled, a class plus 1) and the mask (a class, 15 ignored) of an array or a tensor."""
    return labels >> SCRIBBLE_SHIFT, labels & MASK_BITS


def without_mask(labels: Pixels) -> Pixels:
    """The scribbles alone, with nothing left that tells what the mask was."""
    return labels & np.uint8(MASK_BITS << SCRIBBLE_SHIFT)


def with_border(labels: Pixels, share: float) -> Pixels:
    """Scribbles of the first class on every fourth pixel and row within ``share`` of the sides from the border."""
    height, width = labels.shape
    top, left = round(share * height), round(share * width)
    border = np.zeros(labels.shape, bool)
    border[::BORDER_STEP, ::BORDER_STEP] = True
    border[top : height - top, left : width - left] = False
    scribble, mask = unpack(labels)
    return repack(np.where(border & (scribble == 0), np.uint8(1), scribble), mask)
