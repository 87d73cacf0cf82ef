"""A split whose images are read one by one at their own size, straight from its files."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainable.data import dataset
from trainable.data.dataset import IGNORED, UNLABELLED, BadFile, Pixels, Split
from trainable.data.labelled import Labelled
from trainable.data.reading import read_image, read_mask, read_scribble


@dataclass(frozen=True)
class ImageFiles(Labelled):
    split: Split

    @cached_property
    def hash(self) -> str:  # type: ignore[override]
        return self.split.hash

    @cached_property
    def stems(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(self.split.stems)

    @cached_property
    def shares(self) -> npt.NDArray[np.float64]:  # type: ignore[override]
        """Reads every mask, so that folds are those of networks trained on the same data; nothing else needs it."""
        with ThreadPoolExecutor() as pool:
            return np.stack(list(pool.map(self._share, self.stems)))

    def size(self, stem: str) -> tuple[int, int]:
        """Width and height, from the header of the file."""
        try:
            with Image.open(self.split.images[stem]) as image:
                return image.size
        except OSError as error:
            raise BadFile(self.split.images[stem], f"cannot be read as an image ({error})") from None

    def read(self, stem: str) -> tuple[Pixels, Pixels]:
        """The image (H, W, 3) and its scribble (H, W), unlabelled everywhere if it has none."""
        image = read_image(self.split.images[stem])
        path = self.split.scribbles.get(stem)
        if path is None:
            return image, np.full(image.shape[:2], UNLABELLED, np.uint8)
        return image, _of_size(read_scribble(path, self.task), image, path)

    def mask(self, stem: str, image: Pixels) -> Pixels:
        """The truth of an image, to score with."""
        path = self.split.truth[stem]
        return _of_size(read_mask(path, self.task), image, path)

    def _share(self, stem: str) -> npt.NDArray[np.float64]:
        classes, path = len(self.task.classes), self.split.truth.get(stem)
        if path is None:
            return np.zeros(classes)
        mask = read_mask(path, self.task)
        known = mask[mask != IGNORED]
        return np.asarray(np.bincount(known, minlength=classes) / max(len(known), 1))


def open_files(folder: Path, split: str = "train") -> ImageFiles:
    return ImageFiles(dataset.open_split(folder, split))


def _of_size(labels: Pixels, image: Pixels, path: Path) -> Pixels:
    if labels.shape != image.shape[:2]:
        found, expected = (f"{shape[1]}x{shape[0]}" for shape in (labels.shape, image.shape))
        raise BadFile(path, f"is {found}, its image is {expected}")
    return labels
