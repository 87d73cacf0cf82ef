"""What a method sees of an image, and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from trainable.data.dataset import Pixels

Probabilities = npt.NDArray[np.float32]  # (K, H, W), which add up to 1 over the K classes


@dataclass(frozen=True)
class ScribbledImage:
    """An image with its scribbles, and nothing else: a method never sees a mask.

    ``image`` is (H, W, C) in bytes with 1 or 3 channels, ``scribble`` (H, W) the class of each pixel or ``UNLABELLED``,
    ``features`` (h, w, k), spread over the image at any size, or None. ``seed`` belongs to the image, whatever others
    it is segmented with.
    """

    image: Pixels
    scribble: Pixels
    features: npt.NDArray[np.floating] | None
    seed: int


class Method(Protocol):
    """Segments images independently of each other; several at once only because that is faster."""

    def batch(self, device: torch.device) -> int:
        """The most images at once."""
        ...

    def segment(self, images: Sequence[ScribbledImage], classes: int, device: torch.device) -> list[Probabilities]:
        """The probabilities of every image, at its own size; images of a call may differ in size."""
