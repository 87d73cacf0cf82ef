"""Synthetic data sets in the format of real ones; the same arguments give the same bytes."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trainable.data import dataset
from trainable.data.class_colours import palette
from trainable.data.scribbles import Pixels
from trainable.data.synthetic.scenes import make_sample
from trainable.data.synthetic.structures import CLASSES, class_names, make_slices
from trainable.errors import UserError
from trainable.storage.atomic_files import TEMPORARY, sync_folder

SPLITS = ("train", "test1")  # the index in this order seeds a split's random streams
SIDES = (64, 4096)
FILE_LABELS = np.array([dataset.UNLABELLED, dataset.BACKGROUND, dataset.FOREGROUND], np.uint8)
TWO_COLOURS = (0, 0, 0, 128, 0, 0)  # of masks of two classes


@dataclass(frozen=True)
class Request:
    """What to draw; without volumes and with two classes, scenes of objects, otherwise structures."""

    images: int
    test_images: int
    width: int
    height: int
    seed: int
    classes: int = 2
    volumes: int | None = None
    grey: bool = False

    @property
    def structures(self) -> bool:
        return self.classes > 2 or self.volumes is not None

    def volume_lengths(self, split: int) -> list[int]:
        """Slices of each volume; the volumes of the test split are about as long as the labelled ones."""
        if self.volumes is None:
            return []
        count = (self.images, self.test_images)[split]
        volumes = self.volumes if split == 0 else max(1, count * self.volumes // self.images)
        shortest, longer = divmod(count, volumes)
        return [shortest + (number < longer) for number in range(volumes if count else 0)]


@dataclass(frozen=True)
class Sample:
    """The pixels of one image's files; ``quality`` is that of JPEG."""

    stem: str
    image: Pixels
    scribble: Pixels
    mask: Pixels
    quality: int


def synthesize(
    folder: Path,
    images: int,
    test_images: int,
    width: int,
    height: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
    *,
    classes: int = 2,
    volumes: int | None = None,
    grey: bool = False,
) -> None:
    """Write a data set atomically; ``progress`` is called with the number of finished images.

    Every image or volume has its own random stream, so a larger data set starts with those of a smaller one.
    """
    request = Request(images, test_images, width, height, seed, classes, volumes, grey)
    _check(folder, request)
    target = folder.resolve()
    partial = target.with_name(f"{TEMPORARY}{os.getpid()}-{target.name}")
    draw = _structures if request.structures else _scenes
    done = 0
    try:
        for split, name in enumerate(SPLITS):
            for sample in draw(request, split):
                _write(partial / name, sample, labelled=split == 0, classes=classes)
                done += 1
                progress(done)
            _write_volumes(partial / name, split, request.volume_lengths(split))
        if request.structures:
            (partial / "dataset.yaml").write_text(f"classes: [{', '.join(class_names(classes))}]\n")
        partial.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check(folder: Path, request: Request) -> None:
    (low, high), (fewest, most) = SIDES, CLASSES
    occupied = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    width, height, classes, volumes = request.width, request.height, request.classes, request.volumes
    wrong = {
        f"{folder}: exists and is not empty; use a new or empty folder": occupied,
        f"{request.images} images: at least 1 is needed": request.images < 1,
        f"{request.test_images} test images: 0 or more are allowed": request.test_images < 0,
        f"size {width}x{height}: allowed are {low}x{low} to {high}x{high}": min(width, height) < low
        or max(width, height) > high,
        f"seed {request.seed}: 0 or more is allowed": request.seed < 0,
        f"classes {classes}: allowed are {fewest} to {most}, with the background": not fewest <= classes <= most,
        f"volumes {volumes}: allowed are 1 to {request.images}, the number of images": volumes is not None
        and not 1 <= volumes <= max(1, request.images),
        "grey images: need more than 2 classes, or volumes": request.grey and not request.structures,
    }
    if any(wrong.values()):
        raise UserError("; ".join(problem for problem, found in wrong.items() if found))


def _scenes(request: Request, split: int) -> Iterator[Sample]:
    for index in range((request.images, request.test_images)[split]):
        rng = np.random.default_rng((request.seed, split, index))
        image, scribble, mask = make_sample(rng, request.width, request.height)
        labels = np.dstack([FILE_LABELS[scribble]] * 3)
        yield Sample(f"{SPLITS[split]}_{index:05d}", image, labels, mask, int(rng.integers(70, 95)))


def _structures(request: Request, split: int) -> Iterator[Sample]:
    count = (request.images, request.test_images)[split]
    lengths = request.volume_lengths(split) or [1] * count
    for index, slices in enumerate(lengths):
        rng = np.random.default_rng((request.seed, split, index))
        drawn = make_slices(rng, slices, request.classes, request.width, request.height, request.grey)
        for number, (image, scribble, mask) in enumerate(drawn):
            single = f"{SPLITS[split]}_{index:05d}"
            stem = single if request.volumes is None else f"{_volume(split, index)}_{number:02d}"
            # In uint8, unlabelled wraps around from 0 to the 255 of files.
            yield Sample(stem, image, scribble - np.uint8(1), mask, int(rng.integers(70, 95)))


def _volume(split: int, index: int) -> str:
    """Names are unique across splits."""
    return f"{'' if split == 0 else SPLITS[split] + '_'}volume{index:03d}"


def _write(root: Path, sample: Sample, labelled: bool, classes: int) -> None:
    for folder in (dataset.IMAGES, dataset.SCRIBBLES, *((dataset.TRUTH,) if labelled else ())):
        (root / folder).mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(sample.image)
    if image.mode == "L":
        image.save(root / dataset.IMAGES / f"{sample.stem}.png")
    else:
        image.save(root / dataset.IMAGES / f"{sample.stem}.jpg", quality=sample.quality)
    Image.fromarray(sample.scribble).save(root / dataset.SCRIBBLES / f"{sample.stem}.png")
    if labelled:
        truth = Image.fromarray(sample.mask)
        truth.putpalette(TWO_COLOURS if classes == 2 else palette(classes))
        truth.save(root / dataset.TRUTH / f"{sample.stem}.png")


def _write_volumes(root: Path, split: int, lengths: list[int]) -> None:
    """Which slices belong together, and that they must not be separated by folds."""
    if not lengths:
        return
    slices = [(_volume(split, index), number) for index, length in enumerate(lengths) for number in range(length)]
    rows = [f"{volume}_{number:02d},{volume},{number}\n" for volume, number in slices]
    (root / "volumes.csv").write_text("".join(["stem,volume,slice\n", *rows]))
    groups = [f"{volume}_{number:02d},{volume}\n" for volume, number in slices]
    (root / "groups.csv").write_text("".join(["stem,group\n", *groups]))
