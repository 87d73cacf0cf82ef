"""The input of a prediction: files, a folder of images or a split, each image with its scribble."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainable.data.dataset import IMAGES, SCRIBBLES, SUFFIXES, UNLABELLED, BadFile, Pixels, unread
from trainable.data.reading import read_image, read_scribble
from trainable.data.task import Task
from trainable.errors import UserError


@dataclass(frozen=True)
class Input:
    """The paths of an image and its scribble, if it has one."""

    image: Path
    scribble: Path | None

    @property
    def stem(self) -> str:
        return self.image.stem

    def read(self, task: Task, channels: int) -> Pixels:
        """Read (H, W, channels + 1): the image and the labels of the scribble."""
        image = read_image(self.image, "L" if channels == 1 else "RGB")
        if self.scribble is None:
            return np.dstack([image, np.full(image.shape[:2], UNLABELLED, np.uint8)])
        scribble = read_scribble(self.scribble, task)
        if image.shape[:2] != scribble.shape:
            found, expected = (f"{shape[1]}x{shape[0]}" for shape in (scribble.shape, image.shape))
            raise BadFile(self.scribble, f"is {found}, its image {self.image.name} is {expected}")
        return np.dstack([image, scribble])


def find_inputs(
    images: Sequence[Path], scribbles: Path | None, needed: bool = True, used: bool = True
) -> tuple[list[Input], list[BadFile]]:
    """Match images and scribbles by stem; return the problems of images that cannot be used.

    Scribbles are those of the split that an image is given in, unless their folder is given. Those that are not
    ``needed`` are read where they are found, and those that are not ``used`` nowhere.
    """
    files = [(path, given) for given in images for path in _files(given)]
    if not files:
        raise UserError(f"{images[0]}: contains no image ({', '.join(SUFFIXES)})")
    beside = {given: scribbles or _scribbles_of(given, needed) for given in images}
    marks: dict[Path | None, dict[str, Path]] = {None: {}}
    marks |= {folder: {path.stem: path for path in listed(folder)} for folder in {*beside.values()} if folder}
    inputs: dict[str, Input] = {}
    problems = [bad for path in images if path.is_dir() for bad in unread(_images_of(path))]
    for path, given in files:
        scribble = marks[beside[given]].get(path.stem)
        if path.stem in inputs:
            problems.append(BadFile(path, f"shares its stem with {inputs[path.stem].image}"))
        elif scribble is None and needed:
            problems.append(BadFile(path, f"has no scribble {path.stem}.* in {beside[given]}"))
        else:
            inputs[path.stem] = Input(path, scribble if used else None)
    return list(inputs.values()), problems


def _files(given: Path) -> list[Path]:
    if given.is_dir():
        return listed(_images_of(given))
    if not given.exists():
        raise UserError(f"{given}: no such file or folder of images")
    return [given]


def _images_of(folder: Path) -> Path:
    """The images of a split or of a folder."""
    return folder / IMAGES if (folder / IMAGES).is_dir() else folder


def _scribbles_of(given: Path, needed: bool) -> Path | None:
    """The scribble folder of the split that an input is or belongs to."""
    folder = given if given.is_dir() else given.parent
    for place in (folder / SCRIBBLES, folder.parent / SCRIBBLES):
        if place.is_dir():
            return place
    if not needed:
        return None
    raise UserError(f"{folder}: has no {SCRIBBLES}/ in it or beside it; give their folder with --scribbles DIR")


def listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
