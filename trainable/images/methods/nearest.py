"""The class of the nearest scribble: what every other method has to beat."""

from collections.abc import Sequence

import numpy as np
import torch

from trainable.config import ImageConfig
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.regions import classes_present, distances, without_a_choice


class Nearest:
    """Probabilities in inverse proportion to the distance from the scribbles of each class; colours do not matter.

    A class without scribbles has probability 0. An image without any has equal probabilities, so its first class.
    """

    batch = 1

    def __init__(self, config: ImageConfig) -> None:
        """There is nothing to choose."""

    def segment(self, images: Sequence[ScribbledImage], classes: int, device: torch.device) -> list[Probabilities]:
        return [_nearest(image, classes) for image in images]


def _nearest(image: ScribbledImage, classes: int) -> Probabilities:
    probabilities = without_a_choice(image.scribble, classes)
    if probabilities is None:
        present = classes_present(image.scribble)
        closeness = 1 / (distances(image.scribble, present) + 1e-3)
        probabilities = np.zeros((classes, *image.scribble.shape), np.float32)
        probabilities[present] = closeness / closeness.sum(axis=0)
    return probabilities
