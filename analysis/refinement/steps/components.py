"""Connected components of a mask, image by image: small ones, holes, all but the largest.

Pixels of a foreground class connect along diagonals, those of holes do not. What is removed is filled with the class of
the nearest pixel that stays; of two classes, that around a component is always background.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from analysis.refinement.steps.step import MaskStep, Scene
from trainable.data.dataset import Pixels

Which = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SmallestComponent(MaskStep):
    """Remove the components of foreground classes that cover less than this share of the image."""

    name: ClassVar[str] = "smallest_component"
    share: float

    def apply(self, mask: Pixels, scene: Scene, classes: int) -> Pixels:
        removed = np.zeros(mask.shape, np.bool_)
        for label in range(1, classes):
            labels, stats = _components(mask == label, 8)
            small = stats[:, cv2.CC_STAT_AREA] < self.share * mask.size
            small[0] = False
            removed |= small[labels]
        return filled(mask, removed)


@dataclass(frozen=True)
class LargestComponent(MaskStep):
    """Keep only the largest component of each foreground class; of two equal ones, the upper or left one."""

    name: ClassVar[str] = "largest_component"

    def apply(self, mask: Pixels, scene: Scene, classes: int) -> Pixels:
        removed = np.zeros(mask.shape, np.bool_)
        for label in range(1, classes):
            labels, stats = _components(mask == label, 8)
            if len(stats) > 2:
                largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
                removed |= (labels > 0) & (labels != largest)
        return filled(mask, removed)


@dataclass(frozen=True)
class Holes(MaskStep):
    """Fill the parts of the background that foreground encloses and that cover at most this share of the image."""

    name: ClassVar[str] = "holes"
    share: float

    def apply(self, mask: Pixels, scene: Scene, classes: int) -> Pixels:
        height, width = mask.shape
        labels, stats = _components(mask == 0, 4)
        left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
        right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
        enclosed = (left > 0) & (top > 0) & (right < width) & (bottom < height)
        enclosed &= stats[:, cv2.CC_STAT_AREA] <= self.share * mask.size
        enclosed[0] = False
        return filled(mask, enclosed[labels], (mask == 0) | enclosed[labels])


def filled(mask: Pixels, removed: Which, unknown: Which | None = None) -> Pixels:
    """The mask with the removed pixels given the class of the nearest pixel that is not ``unknown``."""
    unknown = removed if unknown is None else unknown
    if not removed.any() or unknown.all():
        return mask
    found: Any = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = found[1]
    class_of = np.zeros(nearest.max() + 1, np.uint8)
    class_of[nearest[~unknown]] = mask[~unknown]
    result = mask.copy()
    result[removed] = class_of[nearest[removed]]
    return result


def _components(where: Which, connectivity: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The component of each pixel, 0 for none, and a row of ``cv2.CC_STAT_...`` for each."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(where.astype(np.uint8), connectivity=connectivity)
    return labels, stats
