"""A data set on disk: a folder with splits, each with images, scribbles and (where known) the truth."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from trainable.data.task import FILE as TASK_FILE
from trainable.data.task import IGNORE_LABEL, MOST, TWO_CLASSES, Task, read_task
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


def read_image(path: Path, mode: str = "RGB") -> Pixels:
    """Height x width x 3, whatever the file's mode; with the mode "L", height x width of grey."""
    image = _open(path)
    return _pixels((_stretched(image) if is_deep(image) else image).convert(mode))


def is_grey(path: Path) -> bool:
    """Whether an image has no colour, by its mode or by equal channels."""
    try:
        with Image.open(path) as image:
            if image.mode in ("1", "L", "LA") or is_deep(image):
                return True
    except (OSError, UnidentifiedImageError):
        return False
    pixels = read_image(path)
    return bool((pixels == pixels[..., :1]).all())


def is_deep(image: Image.Image) -> bool:
    """Whether a grey image has more than 8 bits per pixel."""
    return image.mode.startswith(("I", "F"))


def _stretched(image: Image.Image) -> Image.Image:
    """Scale an image's own range to 0..255: a file does not say whether 10, 12 or 16 of its bits are used.

    A thousandth of the pixels at either end is ignored, so that a few hot pixels do not make the rest dark.
    """
    values = np.asarray(image, dtype=np.float64)
    low, high = np.percentile(values, (0.1, 99.9))
    return Image.fromarray(np.rint(np.clip((values - low) / max(high - low, 1.0), 0, 1) * 255).astype(np.uint8))


def read_scribble(path: Path, task: Task = TWO_CLASSES) -> Pixels:
    """Height x width of classes, 255 where unlabelled."""
    allowed = _allowed(task, "unlabelled")
    classes = {label: label for label in range(len(task.classes))}
    return _labels(path, {**classes, UNLABELLED: UNLABELLED}, allowed, task)


def read_mask(path: Path, task: Task = TWO_CLASSES) -> Pixels:
    """Height x width of classes, 15 where ignored; of two classes, masks drawn with 255 are read as 1."""
    classes = {label: label for label in range(len(task.classes))}
    if task.ignore:
        return _labels(path, {**classes, IGNORE_LABEL: IGNORED}, _allowed(task, "ignored"), task)
    if not task.binary:
        return _labels(path, classes, _allowed(task), task)
    mask = _labels(path, {**classes, 255: 255}, "0 and 1 (or 255)", task)
    white = mask == 255
    if white.any() and (mask == 1).any():
        raise BadFile(path, 'contains both 1 and 255; a mask has one value for foreground and none for "unknown"')
    mask[white] = 1
    return mask


def _allowed(task: Task, other: str = "") -> str:
    words = [f"{label} {name}" for label, name in enumerate(task.classes)]
    return ", ".join([*words, *([f"255 {other}"] if other else [])])


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError:
        raise Unreadable(path, "does not exist") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(path, f"cannot be read as an image; it is damaged or truncated ({error})") from None
    return image


def _pixels(image: Any) -> Pixels:
    return np.asarray(image, dtype=np.uint8)


def _labels(path: Path, meaning: Mapping[int, int], allowed: str, task: Task) -> Pixels:
    image = _open(path)
    stored = image.format
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "P"):
        image = image.convert("RGB")
    values = _pixels(image)
    if values.ndim == 3:
        if not (np.array_equal(values[..., 0], values[..., 1]) and np.array_equal(values[..., 0], values[..., 2])):
            raise BadFile(path, "has different channels; labels are one channel of class indices, or three equal ones")
        values = values[..., 0]
    strange = sorted(set(np.unique(values).tolist()) - set(meaning))
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        lossy = "; JPEG changes pixel values, save labels as PNG" if stored == "JPEG" else ""
        raise BadFile(path, f"contains the labels {shown}; allowed are {allowed}{lossy or _remedy(strange, task)}")
    table = np.zeros(256, np.uint8)
    for value, label in meaning.items():
        table[value] = label
    return table[values]


def _remedy(strange: Sequence[int], task: Task) -> str:
    """What a data set could declare, if such values are meant."""
    if IGNORE_LABEL in strange:
        return f"; ignore_label: {IGNORE_LABEL} in {TASK_FILE} ignores 255"
    if not task.declared and strange[-1] < MOST:
        return f"; list more classes in {TASK_FILE} beside the splits"
    return ""


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
    sizes = []
    for path in files.images.values():
        try:
            with Image.open(path) as image:
                sizes.append(image.size)
        except OSError as error:
            raise BadFile(path, f"cannot be read as an image ({error})") from None
    return working_size(sizes, stride)
