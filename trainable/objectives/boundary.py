"""Boundary F1: how well the outline of a mask follows the true outline."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from trainable.data.dataset import Pixels

TOLERANCE = 0.0075  # of the image's diagonal: 5 pixels at 500x375


def boundary_f1(predicted: Pixels, truth: Pixels, tolerance: float = TOLERANCE) -> float:
    """F1 of outline pixels; a pixel is matched if the other outline passes within the tolerance.

    The score is 1 if neither mask has an outline and 0 if only one has.
    """
    ours, theirs = outline(predicted), outline(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    reach = tolerance * math.hypot(*truth.shape)
    precision = float((_distance(theirs)[ours] <= reach).mean())
    recall = float((_distance(ours)[theirs] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: Pixels) -> npt.NDArray[np.bool_]:
    """Foreground pixels with a background neighbour; the image border is not an outline."""
    inside = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), borderValue=1)
    return np.asarray((mask > 0) & (inside == 0))


def _distance(line: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """The distance of every pixel to the nearest pixel of the line."""
    away = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away, np.float32)
