"""GrabCut: a graph cut between two mixtures of Gaussians in colour, as OpenCV has it."""

import cv2
import numpy as np
import numpy.typing as npt

from trainable.config import ImageConfig
from trainable.data.dataset import UNLABELLED, Pixels
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.one_by_one import OneByOne
from trainable.images.regions import classes_present, distances, enlarged, one_hot, reduced

MOST = 1_000_000  # pixels of a graph, which takes 200 bytes each; larger images are reduced
FEWEST = 6  # pixels that a mixture of OpenCV's five Gaussians needs


class GrabCut(OneByOne):
    """Scribbles are fixed and the class of the nearest one is the first guess elsewhere; the answer is a hard mask.

    Of more than two classes, each is cut from all others in turn; a pixel that several cuts claim, or none, goes to the
    nearest scribble among those. A class without scribbles is never found. An image with scribbles of one class alone
    is given to it, one without any to the first class. Images of more than a million pixels are cut on
    blocks of pixels.
    """

    def __init__(self, config: ImageConfig) -> None:
        self.iterations = config.grabcut_iterations

    def divide(self, image: ScribbledImage, classes: int) -> Probabilities:
        colours, scribble = reduced(image.image, image.scribble, MOST)
        colours = np.repeat(colours, 3 // colours.shape[2], axis=2)
        present = classes_present(scribble)
        away, labels = distances(scribble, present), np.array(present, np.uint8)
        guess = labels[away.argmin(axis=0)]
        cut = present[1:] if len(present) == 2 else present
        claims = np.stack([self._cut(colours, scribble, guess, label, image.seed) for label in cut])
        if len(present) == 2:
            claims = np.stack([~claims[0], claims[0]])
        away[~claims & claims.any(axis=0)] = np.inf
        return enlarged(one_hot(labels[away.argmin(axis=0)], classes), image.scribble)

    def _cut(self, colours: Pixels, scribble: Pixels, guess: Pixels, label: int, seed: int) -> npt.NDArray[np.bool_]:
        """The pixels that are cut out as this class."""
        state = np.where(guess == label, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        scribbled = scribble != UNLABELLED
        state[scribbled] = np.where(scribble[scribbled] == label, cv2.GC_FGD, cv2.GC_BGD)
        inside = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if min(inside.sum(), (~inside).sum()) < FEWEST:
            return inside
        cv2.setRNGSeed(seed % 2**31)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(np.ascontiguousarray(colours), state, None, *models, self.iterations, cv2.GC_INIT_WITH_MASK)
        return np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))
