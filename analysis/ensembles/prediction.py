"""What a prediction is, and what predicting needs to know of an ensemble of networks or of methods."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from analysis.refinement.chain import Chain
from trainable.data import dataset
from trainable.data.task import Task
from trainable.errors import UserError

Pixels = npt.NDArray[np.uint8]


class Prediction(NamedTuple):
    """The mask of one image at its original size, and the probability of foreground (H, W) or of each class (K, H, W).

    Of two classes, 1 is foreground. Only the mask is refined.
    """

    mask: Pixels
    probability: npt.NDArray[np.float32]


class Predictor(Protocol):
    """Segments images as they are on disk."""

    classes: tuple[str, ...]
    channels: int  # of the image
    tau: float
    sees_scribbles: bool
    refinement: Chain  # of its masks

    @property
    def task(self) -> Task: ...

    @property
    def tta(self) -> str:
        """none or flips."""

    def probabilities(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """Of (B, H, W, C + 1) bytes, images with the labels of their scribbles: (B, H, W), or (B, K, H, W)."""

    def mask_of(self, probability: npt.NDArray[np.float32], image: Pixels, scribble: Pixels) -> Pixels:
        """The mask that is made of the probabilities of one image."""

    def predict(self, image: Pixels, scribble: Pixels | None = None) -> Prediction:
        """Segment one image."""


def checked(ensemble: Predictor, image: Pixels, scribble: Pixels | None) -> tuple[Pixels, Pixels]:
    """An image and its scribble in the form that the ensemble takes, or an error that says what is wrong with them."""
    if scribble is None:
        if ensemble.sees_scribbles:
            raise UserError("scribble: is missing; this ensemble sees images with scribbles")
        scribble = np.full(image.shape[:2], dataset.UNLABELLED, np.uint8)
    if ensemble.channels == 1 and image.ndim == 3 and (image == image[..., :1]).all():
        image = image[..., 0]
    _check_array("image", image, "(H, W)" if ensemble.channels == 1 else "(H, W, 3)")
    _check_array("scribble", scribble, "(H, W)")
    if image.shape[:2] != scribble.shape:
        raise UserError(f"scribble: has shape {scribble.shape}, but the image has {image.shape[:2]}")
    allowed = {**dict(enumerate(ensemble.classes)), dataset.UNLABELLED: "unlabelled"}
    if wrong := sorted(set(np.unique(scribble).tolist()) - set(allowed)):
        *first, last = [f"{label} ({name})" for label, name in allowed.items()]
        raise UserError(f"scribble: holds {wrong[0]}; allowed are {', '.join(first)} and {last}")
    return image, scribble


def _check_array(name: str, array: Pixels, shape: str) -> None:
    right = array.ndim == 3 and array.shape[2] == 3 if shape == "(H, W, 3)" else array.ndim == 2
    if array.dtype != np.uint8 or not right:
        raise UserError(f"{name}: must be a uint8 array of shape {shape}, not {array.dtype} of {array.shape}")
