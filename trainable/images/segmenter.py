"""A config's method applied to images as they are on disk, at the config's size."""

import hashlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch

from trainable.config import ImageConfig
from trainable.data.dataset import Pixels
from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.pretrained.features import Pretrained
from trainable.images.regions import keep_classes
from trainable.images.registry import build_method

MOST_VALUES = 2**25  # of the probabilities of a batch: a batch of large images is one image


class Segmenter:
    """Segments images with their scribbles.

    The images beside an image change its probabilities by rounding alone, which the training of ``unet`` amplifies.
    """

    def __init__(
        self, config: ImageConfig, classes: int, device: torch.device, pretrained: Pretrained | None = None
    ) -> None:
        self.config, self.classes, self.device, self.pretrained = config, classes, device, pretrained
        self.method = build_method(config, None if pretrained is None else pretrained.network)

    def batches(self, sizes: Sequence[tuple[int, int]]) -> Iterator[range]:
        """Consecutive images of these sizes that are segmented together: as many as the method and memory allow."""
        most, start, values = self.method.batch(self.device), 0, 0
        for position, size in enumerate(sizes):
            width, height = size if isinstance(self.config.size, str) else self.config.size
            more = width * height * self.classes
            if position > start and (position - start == most or values + more > MOST_VALUES):
                yield range(start, position)
                start, values = position, 0
            values += more
        if start < len(sizes):
            yield range(start, len(sizes))

    def segment(self, images: Sequence[tuple[Pixels, Pixels]]) -> list[Probabilities]:
        """The probabilities (K, H, W) of images (H, W, 3) with scribbles (H, W), each at its own size."""
        asked = [self._asked(image, scribble) for image, scribble in images]
        found = self.method.segment(asked, self.classes, self.device)
        return [
            _enlarged(_checked(each, one, self.classes), scribble.shape)
            for each, one, (_, scribble) in zip(found, asked, images, strict=True)
        ]

    def _asked(self, image: Pixels, scribble: Pixels) -> ScribbledImage:
        seed = seed_of(self.config.seed, image, scribble)
        features = None if self.pretrained is None else self.pretrained.features(image, scribble)
        if (image == image[..., :1]).all():
            image = image[..., :1]  # without colour
        if not isinstance(self.config.size, str) and self.config.size != (image.shape[1], image.shape[0]):
            smaller = self.config.size[0] < image.shape[1]
            how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            image = cv2.resize(image, self.config.size, interpolation=how).reshape(*self.config.size[::-1], -1)
            reduced = cv2.resize(scribble, self.config.size, interpolation=cv2.INTER_NEAREST_EXACT)
            keep_classes(reduced, scribble)
            scribble = reduced
        return ScribbledImage(image, scribble, features, seed)


def seed_of(seed: int, image: Pixels, scribble: Pixels) -> int:
    """The seed of an image follows from its content, so that a copy of it gets the same mask anywhere."""
    digest = hashlib.sha256(f"{seed} {image.shape}".encode())
    digest.update(image.tobytes())
    digest.update(scribble.tobytes())
    return int.from_bytes(digest.digest()[:6])


def _checked(probabilities: Probabilities, image: ScribbledImage, classes: int) -> Probabilities:
    if probabilities.shape != (classes, *image.scribble.shape):
        raise RuntimeError(f"a method returned {probabilities.shape} of an image of {image.scribble.shape}")
    if not np.isfinite(probabilities).all():
        raise FloatingPointError("a probability is not finite")
    return probabilities


def _enlarged(probabilities: Probabilities, shape: tuple[int, ...]) -> Probabilities:
    if probabilities.shape[1:] == shape:
        return probabilities
    return np.stack([cv2.resize(each, shape[::-1], interpolation=cv2.INTER_LINEAR) for each in probabilities])
