"""The instances of a mask: connected components of each class but the first, with their boxes."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from trainable.data.dataset import Pixels

SMALLEST = 16  # pixels of an instance; smaller components are taken as background
MOST = 64  # instances of an image: the largest, so that a mask of noise does not fill the memory


@dataclass(frozen=True)
class Instances:
    """Boxes are left, top, right and bottom in pixels, (N, 4); ``classes`` is (N,), ``masks`` (N, H, W) of 0 and 1."""

    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    masks: Pixels


def instances_of(mask: Pixels, classes: int) -> Instances:
    """The instances of a mask (H, W) with the class of each pixel, largest first; ignored pixels belong to none."""
    found: list[tuple[int, int, tuple[int, int, int, int], Pixels]] = []
    for number in range(1, classes):
        count, components, stats, _ = cv2.connectedComponentsWithStats((mask == number).astype(np.uint8))
        for label in range(1, count):
            left, top, width, height, area = stats[label].tolist()
            if area >= SMALLEST:
                found.append((area, number, (left, top, left + width, top + height), components == label))
    found = sorted(found, key=lambda instance: -instance[0])[:MOST]
    return Instances(
        np.array([box for _, _, box, _ in found], np.float32).reshape(-1, 4),
        np.array([number for _, number, _, _ in found], np.int64),
        np.array([where for _, _, _, where in found], np.uint8).reshape(-1, *mask.shape),
    )
