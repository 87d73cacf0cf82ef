"""The class of the nearest scribble: what every other method has to beat."""

import numpy as np

from trainable.config import ImageConfig
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.one_by_one import OneByOne
from trainable.images.regions import classes_present, distances


class Nearest(OneByOne):
    """Probabilities in inverse proportion to the distance from the scribbles of each class; colours do not matter.

    A class without scribbles has probability 0. An image without any has equal probabilities, so its first class.
    """

    def __init__(self, config: ImageConfig) -> None:
        """There is nothing to choose."""

    def divide(self, image: ScribbledImage, classes: int) -> Probabilities:
        present = classes_present(image.scribble)
        closeness = 1 / (distances(image.scribble, present) + 1e-3)
        probabilities = np.zeros((classes, *image.scribble.shape), np.float32)
        probabilities[present] = closeness / closeness.sum(axis=0)
        return probabilities
