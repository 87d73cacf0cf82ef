"""Synthetic data sets in the format of real ones; the same arguments give the same bytes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from trainable.data import dataset
from trainable.data.scribbles import Pixels
from trainable.data.synthetic_scenes import Rng, make_sample
from trainable.errors import UserError
from trainable.storage.atomic_files import TEMPORARY, sync_folder

SPLITS = ("train", "test1")  # the index in this order seeds a split's random streams
SIDES = (64, 4096)
FILE_LABELS = np.array([dataset.UNLABELLED, dataset.FOREGROUND, dataset.BACKGROUND], np.uint8)


def synthesize(
    folder: Path,
    images: int,
    test_images: int,
    width: int,
    height: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write a data set atomically; ``progress`` is called with the number of finished images.

    Every image has its own random stream, so a larger data set starts with the images of a smaller one.
    """
    _check(folder, images, test_images, width, height, seed)
    target = folder.resolve()
    partial = target.with_name(f"{TEMPORARY}{os.getpid()}-{target.name}")
    try:
        for split, count in enumerate((images, test_images)):
            for index in range(count):
                rng = np.random.default_rng((seed, split, index))
                image, scribble, mask = make_sample(rng, width, height)
                truth = mask if split == 0 else None
                _write(partial / SPLITS[split], f"{SPLITS[split]}_{index:05d}", image, scribble, truth, rng)
                progress(split * images + index + 1)
        partial.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check(folder: Path, images: int, test_images: int, width: int, height: int, seed: int) -> None:
    low, high = SIDES
    occupied = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    wrong = {
        f"{folder}: exists and is not empty; use a new or empty folder": occupied,
        f"{images} images: at least 1 is needed": images < 1,
        f"{test_images} test images: 0 or more are allowed": test_images < 0,
        f"size {width}x{height}: allowed are {low}x{low} to {high}x{high}": min(width, height) < low
        or max(width, height) > high,
        f"seed {seed}: 0 or more is allowed": seed < 0,
    }
    if any(wrong.values()):
        raise UserError("; ".join(problem for problem, found in wrong.items() if found))


def _write(root: Path, stem: str, image: Pixels, scribble: Pixels, mask: Pixels | None, rng: Rng) -> None:
    for folder in (dataset.IMAGES, dataset.SCRIBBLES, *(() if mask is None else (dataset.TRUTH,))):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(root / dataset.IMAGES / f"{stem}.jpg", quality=int(rng.integers(70, 95)))
    labels = FILE_LABELS[scribble]
    Image.fromarray(np.dstack([labels] * 3)).save(root / dataset.SCRIBBLES / f"{stem}.png")
    if mask is not None:
        truth = Image.fromarray(mask)
        truth.putpalette([0, 0, 0, 128, 0, 0])
        truth.save(root / dataset.TRUTH / f"{stem}.png")
