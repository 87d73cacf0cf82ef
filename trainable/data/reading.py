"""Reads the pixels of one file: an image of any mode, or the labels of a scribble or a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainable.data.dataset import IGNORED, UNLABELLED, BadFile, Pixels, Unreadable
from trainable.data.task import FILE as TASK_FILE
from trainable.data.task import IGNORE_LABEL, MOST, TWO_CLASSES, Task


def read_image(path: Path, mode: str = "RGB") -> Pixels:
    """Height x width x 3, whatever the file's mode; with the mode "L", height x width of grey."""
    image = _open(path)
    return _pixels((_stretched(image) if is_deep(image) else image).convert(mode))


def is_grey(path: Path) -> bool:
    """Whether an image has no colour, by its mode or by equal channels."""
    try:
        with Image.open(path) as image:
            if image.mode in ("1", "L", "LA") or is_deep(image):
                return True
    except (OSError, UnidentifiedImageError):
        return False
    pixels = read_image(path)
    return bool((pixels == pixels[..., :1]).all())


def is_deep(image: Image.Image) -> bool:
    """Whether a grey image has more than 8 bits per pixel."""
    return image.mode.startswith(("I", "F"))


def _stretched(image: Image.Image) -> Image.Image:
    """Scale an image's own range to 0..255: a file does not say whether 10, 12 or 16 of its bits are used.

    A thousandth of the pixels at either end is ignored, so that a few hot pixels do not make the rest dark.
    """
    values = np.asarray(image, dtype=np.float64)
    low, high = np.percentile(values, (0.1, 99.9))
    return Image.fromarray(np.rint(np.clip((values - low) / max(high - low, 1.0), 0, 1) * 255).astype(np.uint8))


def read_scribble(path: Path, task: Task = TWO_CLASSES) -> Pixels:
    """Height x width of classes, 255 where unlabelled."""
    allowed = _allowed(task, "unlabelled")
    classes = {label: label for label in range(len(task.classes))}
    return _labels(path, {**classes, UNLABELLED: UNLABELLED}, allowed, task)


def read_mask(path: Path, task: Task = TWO_CLASSES) -> Pixels:
    """Height x width of classes, 15 where ignored; of two classes, masks drawn with 255 are read as 1."""
    classes = {label: label for label in range(len(task.classes))}
    if task.ignore:
        return _labels(path, {**classes, IGNORE_LABEL: IGNORED}, _allowed(task, "ignored"), task)
    if not task.binary:
        return _labels(path, classes, _allowed(task), task)
    mask = _labels(path, {**classes, 255: 255}, "0 and 1 (or 255)", task)
    white = mask == 255
    if white.any() and (mask == 1).any():
        raise BadFile(path, 'contains both 1 and 255; a mask has one value for foreground and none for "unknown"')
    mask[white] = 1
    return mask


def _allowed(task: Task, other: str = "") -> str:
    words = [f"{label} {name}" for label, name in enumerate(task.classes)]
    return ", ".join([*words, *([f"255 {other}"] if other else [])])


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError:
        raise Unreadable(path, "does not exist") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(path, f"cannot be read as an image; it is damaged or truncated ({error})") from None
    return image


def _pixels(image: Any) -> Pixels:
    return np.asarray(image, dtype=np.uint8)


def _labels(path: Path, meaning: Mapping[int, int], allowed: str, task: Task) -> Pixels:
    image = _open(path)
    stored = image.format
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "P"):
        image = image.convert("RGB")
    values = _pixels(image)
    if values.ndim == 3:
        if not (np.array_equal(values[..., 0], values[..., 1]) and np.array_equal(values[..., 0], values[..., 2])):
            raise BadFile(path, "has different channels; labels are one channel of class indices, or three equal ones")
        values = values[..., 0]
    strange = sorted(set(np.unique(values).tolist()) - set(meaning))
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        lossy = "; JPEG changes pixel values, save labels as PNG" if stored == "JPEG" else ""
        raise BadFile(path, f"contains the labels {shown}; allowed are {allowed}{lossy or _remedy(strange, task)}")
    table = np.zeros(256, np.uint8)
    for value, label in meaning.items():
        table[value] = label
    return table[values]


def _remedy(strange: Sequence[int], task: Task) -> str:
    """What a data set could declare, if such values are meant."""
    if IGNORE_LABEL in strange:
        return f"; ignore_label: {IGNORE_LABEL} in {TASK_FILE} ignores 255"
    if not task.declared and strange[-1] < MOST:
        return f"; list more classes in {TASK_FILE} beside the splits"
    return ""
