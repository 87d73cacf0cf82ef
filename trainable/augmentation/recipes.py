"""The augmentations that two published texts list, under names of their own.

Where a text gives no number, it is that of the library or paper that the text quotes. Synthetic scribbles are drawn
as for the levels: they belong to the network's input, which no text augments.
"""

from typing import Any

import albumentations as A
import cv2

from trainable.data.dataset import Pixels

# How transforms that resize move labels: INTER_NEAREST, the default of all transforms, would move them half a pixel.
RESIZED_LABELS = cv2.INTER_NEAREST_EXACT
ROOM = 9 / 8  # how much larger than the crop a sample is; a whole number of pixels for every working size


class RandomGrey(A.ToGray):
    """Colours become grey, still in three channels; grey images stay as they are."""

    def apply(self, img: Pixels, **params: Any) -> Pixels:
        grey: Pixels = img if img.ndim == 2 or img.shape[2] == 1 else super().apply(img, **params)
        return grey


def contrastive(size: tuple[int, int]) -> list[Any]:
    """Six augmentations; crops are those of torchvision by default, colours and blur those of DINO."""
    width, height = size
    return [
        A.RandomResizedCrop(
            (height, width), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), mask_interpolation=RESIZED_LABELS
        ),
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.ColorJitter(brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.8, 1.2), hue=(-0.1, 0.1), p=0.8),
        RandomGrey(p=0.1),
        A.GaussianBlur(blur_limit=0, sigma_limit=(0.1, 2.0), p=0.5),
    ]


def textbook(size: tuple[int, int]) -> list[Any]:
    """Random crop, flips, quarter turns, elastic and grid distortion, brightness and contrast, as in textbooks.

    A quarter turn swaps the sides. So it comes first, and the turned or unturned sample is then enlarged until crops of
    the working size have some room in it: nothing is squeezed, and nothing is filled in.
    """
    width, height = size
    return [
        A.RandomRotate90(p=0.5),
        A.SmallestMaxSize(max_size_hw=(round(ROOM * height), round(ROOM * width)), mask_interpolation=RESIZED_LABELS),
        A.RandomCrop(height, width),
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.ElasticTransform(alpha=120, sigma=6, p=0.3),
        A.GridDistortion(p=0.3),
        A.RandomBrightnessContrast(p=0.3),
    ]
