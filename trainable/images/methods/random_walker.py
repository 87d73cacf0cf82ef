"""The random walker of Grady (2006): which scribble a walker that avoids edges of the image reaches first."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from scipy.sparse.linalg import splu

from trainable.config import ImageConfig
from trainable.data.dataset import UNLABELLED, Pixels
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.one_by_one import OneByOne
from trainable.images.regions import classes_present, enlarged, reduced

MOST = 60_000  # pixels of a system that is solved; larger images are reduced
FLOOR = 1e-6  # of the weight of an edge, which keeps every pixel reachable

Floats = npt.NDArray[np.float64]


class RandomWalker(OneByOne):
    """Probabilities that a walker from a pixel reaches the scribbles of a class first, by a direct sparse solver.

    Images of more than 60,000 pixels are solved on blocks of equal size, each with the mean colour and the first class
    that is scribbled in it, and the probabilities are enlarged. A class without scribbles has probability 0; an image
    without any has equal probabilities, so its first class.
    """

    def __init__(self, config: ImageConfig) -> None:
        self.beta = config.walker_beta

    def divide(self, image: ScribbledImage, classes: int) -> Probabilities:
        colours, scribble = reduced(image.image, image.scribble, MOST)
        present = classes_present(scribble)
        small = np.zeros((classes, *scribble.shape), np.float32)
        small[present] = walk(colours / 255.0, scribble, present, self.beta)
        return enlarged(small, image.scribble)


def walk(colours: Floats, scribble: Pixels, present: Sequence[int], beta: float) -> list[npt.NDArray[np.float32]]:
    """The probability of each of these classes, (H, W) each."""
    weights = _weights(colours, beta)
    laplacian = (sparse.diags(np.asarray(weights.sum(axis=1)).ravel()) - weights).tocsr()
    flat = scribble.ravel()
    free, fixed = np.flatnonzero(flat == UNLABELLED), np.flatnonzero(flat != UNLABELLED)
    sides = (flat[fixed][:, None] == np.array(present)).astype(np.float64)
    values = np.zeros((flat.size, len(present)))
    values[fixed] = sides
    if len(free):
        inner = laplacian[free]
        factors = splu(
            inner[:, free].tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True}
        )
        values[free] = np.clip(factors.solve(-(inner[:, fixed] @ sides)), 0, 1)
        values[free] /= values[free].sum(axis=1, keepdims=True)
    return [column.reshape(scribble.shape).astype(np.float32) for column in values.T]


def _weights(colours: Floats, beta: float) -> sparse.csr_matrix:
    """The symmetric matrix of weights between neighbouring pixels."""
    height, width = colours.shape[:2]
    place = np.arange(height * width).reshape(height, width)
    ends = (place[:, :-1].ravel(), place[:-1].ravel()), (place[:, 1:].ravel(), place[1:].ravel())
    start, end = (np.concatenate(parts) for parts in ends)
    pixels = colours.reshape(height * width, -1)
    steps = ((pixels[start] - pixels[end]) ** 2).sum(axis=1)
    weights = np.exp(-beta * steps / max(steps.max(initial=0.0), 1e-12)) + FLOOR
    both = np.concatenate([start, end]), np.concatenate([end, start])
    return sparse.csr_matrix((np.concatenate([weights, weights]), both), shape=(height * width, height * width))
