"""Augmentation: one table lists the transforms of each level; a sample's random stream depends on the sample alone.

Mask and scribble are one packed byte (see ``packed_labels``) whose 0 means "background, unlabelled". A transform
that fills with 0 and moves labels by nearest neighbour can therefore never create a false scribble.
"""

import os
import random
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing it would look for a newer version online

import albumentations as A
import cv2
import numpy as np
from albumentations.core.transforms_interface import BaseTransformInitSchema

from trainable.augmentation.recipes import RESIZED_LABELS, contrastive, textbook
from trainable.data.dataset import IGNORED, Pixels
from trainable.data.labelled import MASKS, SCRIBBLES
from trainable.data.packed_labels import repack, unpack
from trainable.data.scribbles import BACKGROUND_STROKE, synthetic_scribble
from trainable.data.synthetic.class_scribbles import synthetic_class_scribble

SYNTHETIC_SCRIBBLES = 0.5


class ForegroundCrop(A.RandomResizedCrop):
    """A random crop that contains some foreground with probability ``bias``, resized to full size.

    Foreground is what the mask shows of any class but the first, or the scribbles if ``supervision`` is by scribbles.
    """

    class InitSchema(BaseTransformInitSchema):
        size: tuple[int, int]
        scale: tuple[float, float]
        ratio: tuple[float, float]
        bias: float
        supervision: str

    def __init__(
        self,
        size: tuple[int, int],
        scale: tuple[float, float] = (0.4, 1.0),
        ratio: tuple[float, float] = (0.75, 1.333),
        bias: float = 0.75,
        supervision: str = MASKS,
        p: float = 1.0,
    ) -> None:
        super().__init__(size=size, scale=scale, ratio=ratio, mask_interpolation=RESIZED_LABELS, p=p)
        self.bias, self.supervision = bias, supervision

    def is_foreground(self, labels: Pixels) -> Any:
        scribble, mask = unpack(labels)
        return scribble > BACKGROUND_STROKE if self.supervision == SCRIBBLES else (mask > 0) & (mask < IGNORED)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        left, top, right, bottom = super().get_params_dependent_on_data(params, data)["crop_coords"]
        foreground = np.flatnonzero(self.is_foreground(data["mask"]))
        if self.py_random.random() < self.bias and foreground.size:
            height, width = params["shape"][:2]
            y, x = divmod(int(foreground[self.py_random.randrange(foreground.size)]), width)
            left, right = _window_around(x, right - left, width, self.py_random)
            top, bottom = _window_around(y, bottom - top, height, self.py_random)
        return {"crop_coords": (left, top, right, bottom)}


class SmoothElastic(A.ElasticTransform):
    """Elastic deformation; ``alpha`` is the displacement's standard deviation in pixels of a 480 pixels wide image.

    The field is so smooth that it is drawn at an eighth of the size and enlarged, which is 20 times faster than
    blurring noise at full size with the same sigma.
    """

    coarse = 8

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        height, width = params["shape"][:2]
        scale = width / 480
        small = (2, -(-height // self.coarse), -(-width // self.coarse))
        noise = self.random_generator.standard_normal(small, dtype=np.float32)
        sigma = self.sigma * scale / self.coarse
        fields = np.stack([cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for field in noise])
        # White noise of variance 1 blurred by sigma has the standard deviation 1 / (2 sigma sqrt(pi)).
        fields *= self.alpha * scale * 2 * sigma * np.sqrt(np.pi)
        dx, dy = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in fields)
        x = np.arange(width, dtype=np.float32)
        y = np.arange(height, dtype=np.float32)[:, None]
        return {"map_x": x + dx, "map_y": y + dy}


def levels(size: tuple[int, int], supervision: str = MASKS) -> dict[str, list[Any]]:
    """The transforms of each level, in order; every level includes the one before it. Recipes stand alone."""
    width, height = size
    low = [
        A.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.05, 0.05), p=0.8),
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.2),
        A.Affine(rotate=(-15, 15), translate_percent=(-0.1, 0.1), scale=(0.85, 1.15), balanced_scale=True, p=0.8),
    ]
    medium = [*low, ForegroundCrop((height, width), scale=(0.4, 1.0), bias=0.75, supervision=supervision, p=0.5)]
    high = [
        *medium,
        SmoothElastic(alpha=5, sigma=32, p=0.3),
        A.GridDistortion(num_steps=5, distort_limit=(-0.2, 0.2), p=0.3),
        A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.5), p=0.2),
    ]
    return {
        "none": [],
        "low": low,
        "medium": medium,
        "high": high,
        "contrastive": contrastive(size),
        "textbook": textbook(size),
    }


class Augmentation:
    """One level at one size. ``image`` is (H, W, C), ``labels`` (H, W) packed; both are returned in the same form.

    Scribbles are synthesized from masks, so only where masks may be used and the network sees scribbles.
    """

    def __init__(
        self, level: str, size: tuple[int, int], classes: int = 2, supervision: str = MASKS, scribbled: bool = True
    ) -> None:
        self.classes = classes
        self.synthetic = SYNTHETIC_SCRIBBLES if level != "none" and supervision == MASKS and scribbled else 0.0
        transforms = levels(size, supervision)[level]
        self.compose = A.Compose(transforms) if transforms else None

    def __call__(self, image: Pixels, labels: Pixels, key: tuple[int, ...]) -> tuple[Pixels, Pixels]:
        """Augment a sample; the result depends on ``key`` (seed, fold, epoch, image) alone."""
        if self.compose is None:
            return image, labels
        rng = np.random.default_rng(key)
        if rng.random() < self.synthetic:
            scribble, mask = unpack(labels)
            labels = repack(self._synthetic(mask, scribble, rng), mask)
        # One stream for all transforms: albumentations' own seeds repeat over epochs and workers.
        self.compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        moved = self.compose(image=image, mask=labels)
        return moved["image"].reshape(image.shape), moved["mask"]

    def _synthetic(self, mask: Pixels, scribble: Pixels, rng: np.random.Generator) -> Pixels:
        if self.classes == 2 and mask.max(initial=0) < IGNORED:
            return synthetic_scribble(mask, scribble, rng)
        drawn: Pixels = synthetic_class_scribble(mask, scribble, rng, self.classes)
        return drawn


def _window_around(centre: int, length: int, limit: int, rng: random.Random) -> tuple[int, int]:
    """A window of this length within the limit that contains the centre."""
    start = min(max(centre - rng.randrange(length), 0), limit - length)
    return start, start + length
