"""Distances from scribbles, and probabilities where an image lacks some of them."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from trainable.data.dataset import UNLABELLED, Pixels
from trainable.images.method import Probabilities


def classes_present(scribble: Pixels) -> list[int]:
    """The classes that have at least one scribbled pixel."""
    return [label for label in np.unique(scribble).tolist() if label != UNLABELLED]


def distances(scribble: Pixels, classes: Sequence[int]) -> npt.NDArray[np.float32]:
    """The distance in pixels from each pixel to the nearest scribble of each class, (len(classes), H, W)."""
    # OpenCV's transform is faster, but its last bits vary from call to call.
    return np.stack([distance_transform_edt(scribble != label).astype(np.float32) for label in classes])


def one_hot(mask: Pixels, classes: int) -> Probabilities:
    """Probability 1 for the class of each pixel."""
    found: Probabilities = (np.arange(classes, dtype=np.uint8)[:, None, None] == mask).astype(np.float32)
    return found


def without_a_choice(scribble: Pixels, classes: int) -> Probabilities | None:
    """The probabilities of an image that has scribbles of fewer than two classes, else None.

    Without scribbles every class is equally likely, so that the first one is chosen; a single class has everything.
    """
    present = classes_present(scribble)
    if len(present) > 1:
        return None
    if not present:
        return np.full((classes, *scribble.shape), 1 / classes, np.float32)
    return one_hot(np.full(scribble.shape, present[0], np.uint8), classes)


def reduced(image: Pixels, scribble: Pixels, most: int) -> tuple[Pixels, Pixels]:
    """The mean colours of square blocks of pixels and their scribbles, with at most about ``most`` blocks."""
    height, width = scribble.shape
    factor = max(1, math.ceil(math.sqrt(height * width / most)))
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    colours = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA).reshape(rows, columns, -1)
    # A block with a scribble is labelled; where it has several classes, the first one wins.
    marks = np.full((rows, columns), UNLABELLED, np.uint8)
    np.minimum.at(marks, (np.arange(height)[:, None] // factor, np.arange(width) // factor), scribble)
    keep_classes(marks, scribble)
    return colours, marks


def keep_classes(marks: Pixels, scribble: Pixels) -> None:
    """Give each class that a resized scribble has lost a pixel: where it was drawn, else the nearest free one.

    A pixel that is all that another class has is not taken.
    """
    for label in np.setdiff1d(classes_present(scribble), marks):
        row, column = np.argwhere(scribble == label)[0]
        place = np.array([row * marks.shape[0] // scribble.shape[0], column * marks.shape[1] // scribble.shape[1]])
        spare = (marks == UNLABELLED) | (np.bincount(marks.ravel(), minlength=UNLABELLED + 1)[marks] > 1)
        if not spare[tuple(place)] and (marks == UNLABELLED).any():
            spare = marks == UNLABELLED
        if len(places := np.argwhere(spare)):
            marks[tuple(places[((places - place) ** 2).sum(axis=1).argmin()])] = label


def enlarged(probabilities: Probabilities, scribble: Pixels) -> Probabilities:
    """The probabilities of an image that was reduced; its scribbles keep their classes."""
    if probabilities.shape[1:] == scribble.shape:
        return probabilities
    size = scribble.shape[::-1]
    found = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_LINEAR) for each in probabilities])
    scribbled = scribble != UNLABELLED
    found[:, scribbled] = one_hot(scribble[scribbled][None], len(found))[:, 0]
    return found
