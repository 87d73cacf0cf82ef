"""A data set on disk: a folder with splits, each with images, scribbles and (where known) the truth."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainable.data.task import TWO_CLASSES, Task, read_task
from trainable.errors import UserError, did_you_mean

Pixels = npt.NDArray[np.uint8]

SUFFIXES = (".jpg", ".jpeg", ".png")
PICTURES = (".avif", ".bmp", ".gif", ".heic", ".jfif", ".jp2", ".pbm", ".pgm", ".ppm", ".tga", ".tif", ".tiff", ".webp")
BACKGROUND, FOREGROUND, UNLABELLED = 0, 1, 255
IGNORED = 15  # of a mask in memory: pixels that count for nothing
IMAGES, SCRIBBLES, TRUTH = "images", "scribbles", "ground_truth"


class BadFile(UserError):
    """A file that cannot be used as it is, and why."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file
        self.problem = problem

    def __reduce__(self) -> tuple[type[BadFile], tuple[Path, str]]:
        return (type(self), (self.file, self.problem))


class Unreadable(BadFile):
    """Not a complete image; any other bad file can be opened and has a size."""


@dataclass(frozen=True)
class Split:
    """The files of one split by stem; nothing is opened yet."""

    root: Path
    images: Mapping[str, Path]
    scribbles: Mapping[str, Path]
    truth: Mapping[str, Path]
    clashes: tuple[Path, ...] = ()
    task: Task = TWO_CLASSES

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def labelled(self) -> bool:
        return (self.root / TRUTH).is_dir()

    @cached_property
    def stems(self) -> list[str]:
        return sorted(self.images)

    @cached_property
    def volumes_file(self) -> Path | None:
        """Which slices form volumes, if the data set is one of volumes."""
        path = self.root / self.task.volumes
        return path if self.task.declared and path.exists() else None

    def missing_partners(self) -> list[BadFile]:
        """Every file that lacks its counterpart in the other folders.

        Where a ``dataset.yaml`` declares the data set, images without scribbles or masks are allowed.
        """
        folders = {IMAGES: self.images, SCRIBBLES: self.scribbles}
        if self.labelled:
            folders[TRUTH] = self.truth
        found: list[BadFile] = []
        if self.task.declared:
            for stem in sorted((self.scribbles.keys() | self.truth.keys()) - self.images.keys()):
                present = self.scribbles.get(stem) or self.truth[stem]
                found.append(BadFile(present, f"has no partner {stem}.* in {IMAGES}.{did_you_mean(stem, self.images)}"))
            return found
        for stem in sorted(set().union(*folders.values())):
            lacking = [folder for folder, files in folders.items() if stem not in files]
            if lacking:
                present = next(files[stem] for files in folders.values() if stem in files)
                near = [o.name for f in lacking for other, o in folders[f].items() if other.lower() == stem.lower()]
                hint = f"; {near[0]} differs in case" if near else ""
                found.append(BadFile(present, f"has no partner {stem}.* in {' and in '.join(lacking)}{hint}"))
        return found

    @cached_property
    def hash(self) -> str:
        """A hash of every name and byte of the split: equal hashes mean equal data."""
        digest = hashlib.sha256()
        if self.task.declared:
            digest.update(repr((self.task.classes, self.task.ignore)).encode())
            digest.update(self.volumes_file.read_bytes() if self.volumes_file else b"")
        for folder, files in ((IMAGES, self.images), (SCRIBBLES, self.scribbles), (TRUTH, self.truth)):
            for stem in sorted(files):
                digest.update(f"{folder}/{stem}\0".encode())
                digest.update(hashlib.sha256(files[stem].read_bytes()).digest())
        return digest.hexdigest()


def find_splits(folder: Path, task: Task | None = None) -> dict[str, Split]:
    """Every split below a data set's folder, by name; ``task`` takes the place of the one that the folder declares."""
    if not folder.is_dir():
        hint = f"python -m trainable synthesize {folder} makes one to try things out"
        raise UserError(f"{folder}: no such folder; a data set is a folder with splits such as train/images ({hint})")
    asked = task or read_task(folder)
    splits = {path.name: _list_split(path, asked) for path in sorted(folder.iterdir()) if (path / IMAGES).is_dir()}
    if not splits:
        hint = (
            f" (it looks like a split itself: give its parent, {folder.resolve().parent})"
            if (folder / IMAGES).is_dir()
            else ""
        )
        raise UserError(f"{folder}: contains no split, that is, a folder such as train/ with images/ in it{hint}")
    return splits


def open_split(folder: Path, name: str = "train") -> Split:
    """A split to train on; files without a counterpart are an error."""
    splits = find_splits(folder)
    if name not in splits:
        raise UserError(f"{folder}: has no split {name!r}, only {', '.join(splits)}.{did_you_mean(name, splits)}")
    split = splits[name]
    if not split.images:
        raise UserError(f"{split.root / IMAGES}: contains no image ({', '.join(SUFFIXES)})")
    problems = [
        *(BadFile(path, "shares its stem with another file") for path in split.clashes),
        *split.missing_partners(),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more: python -m trainable doctor {folder})" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")
    if not split.truth and not split.scribbles:
        raise UserError(f"{split.root}: has neither masks nor scribbles, so nothing can be trained or scored on it")
    return split


def images_alone(folder: Path, name: str) -> Split:
    """The images of a split as a split without labels."""
    split = find_splits(folder)[name]
    if not split.images:
        raise UserError(f"{split.root / IMAGES}: contains no image ({', '.join(SUFFIXES)})")
    return replace(split, scribbles={}, truth={})


def unread(folder: Path) -> list[BadFile]:
    """Images in a folder whose format is not supported."""
    text = f"has an unsupported format; convert it to one of {', '.join(SUFFIXES)}"
    pictures = [path for path in sorted(folder.glob("*.*")) if path.suffix.lower() in PICTURES]
    return [BadFile(path, text) for path in pictures if not path.name.startswith(".")]


def _list_split(root: Path, task: Task) -> Split:
    clashes: list[Path] = []

    def by_stem(folder: str) -> dict[str, Path]:
        files: dict[str, Path] = {}
        if not (root / folder).is_dir():
            return files
        for path in sorted((root / folder).iterdir()):
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            if path.stem in files:
                clashes.append(path)
            else:
                files[path.stem] = path
        return files

    return Split(root, by_stem(IMAGES), by_stem(SCRIBBLES), by_stem(TRUTH), tuple(clashes), task)


def working_size(sizes: Sequence[tuple[int, int]], stride: int) -> tuple[int, int]:
    """The largest multiple of the stride that is not above the originals' size; if sizes are mixed, their most common
    one, and of several equally common ones the median by area.
    """
    counted = Counter(sizes)
    common = [size for size, count in counted.items() if count == max(counted.values())]
    width, height = sorted(common, key=lambda size: (size[0] * size[1], size))[len(common) // 2]
    if width < stride or height < stride:
        raise UserError(f"images of {width}x{height} are smaller than {stride}x{stride}; give --set size=WIDTHxHEIGHT")
    return width // stride * stride, height // stride * stride


def auto_size(files: Split, stride: int) -> tuple[int, int]:
    """The working size of a split, from the headers of its images."""
    return working_size(image_sizes(files.images.values()), stride)


def image_sizes(paths: Iterable[Path]) -> list[tuple[int, int]]:
    """The width and height of images, from their headers."""
    sizes = []
    for path in paths:
        try:
            with Image.open(path) as image:
                sizes.append(image.size)
        except OSError as error:
            raise BadFile(path, f"cannot be read as an image ({error})") from None
    return sizes
