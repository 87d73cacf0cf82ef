"""Folders laid out as PASCAL VOC: JPEGImages/, SegmentationClass/ with palette PNGs, lists in ImageSets/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainable.data.dataset import BACKGROUND, IMAGES, SCRIBBLES, SUFFIXES, TRUTH, UNLABELLED, BadFile, Pixels
from trainable.data.importers.labels import translate
from trainable.data.importers.problems import raise_problems
from trainable.data.importers.source import Entry, Importer, Options, Part, Source, existing_folder
from trainable.data.reading import read_image
from trainable.data.task import IGNORE_LABEL
from trainable.errors import UserError, did_you_mean
from trainable.printing import plural

STANDARD = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def find(source: Path, options: Options) -> Source:
    """The images that the list of the split names, with their masks and scribbles."""
    names = read_names(options.names) if options.names else STANDARD
    meaning = class_meaning(options.classes, names)
    images = _listed(existing_folder(source), options.image_set or options.split)
    folders = {TRUTH: source / "SegmentationClass"}
    if options.scribbles is not None:
        folders[SCRIBBLES] = existing_folder(source / options.scribbles)
    parts = []
    for stem, image in images.items():
        labels = {folder: path / f"{stem}.png" for folder, path in folders.items()}
        files = {IMAGES: image} | {folder: path for folder, path in labels.items() if path.exists()}
        parts.append(Part(image, (Entry(stem),), tuple(files), partial(_read, files, meaning)))
    if options.scribbles is not None and not any(SCRIBBLES in part.folders for part in parts):
        raise UserError(f"{folders[SCRIBBLES]}: contains the scribbles of none of the {len(parts)} images")
    dropped = [name for name in names if name not in options.classes]
    note = f"pixels of {plural(len(dropped), 'other class', 'other classes')} became {options.classes[0]}"
    return Source(tuple(parts), notes=(note,) if dropped else ())


def read_names(path: Path) -> tuple[str, ...]:
    """The lines of a text file, without blank ones."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of names ({error})") from None
    return tuple(line.strip() for line in lines if line.strip())


def class_meaning(classes: Sequence[str], names: Sequence[str]) -> dict[int, int]:
    """The class index of each value in a source's masks; classes that are not kept become the first one."""
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise UserError(f"--classes: unknown class {unknown[0]!r}.{did_you_mean(unknown[0], names)}")
    if classes[0] != names[0]:
        raise UserError(f"--classes: the first class must be {names[0]!r}, the name of the value 0")
    kept = {name: index for index, name in enumerate(classes)}
    return {value: kept.get(name, BACKGROUND) for value, name in enumerate(names)} | {IGNORE_LABEL: UNLABELLED}


def _listed(source: Path, image_set: str) -> dict[str, Path]:
    """The images of a list by stem; without any lists, all images."""
    folder = existing_folder(source / "JPEGImages")
    images = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    lists = source / "ImageSets" / "Segmentation"
    if lists.is_dir():
        path = lists / f"{image_set}.txt"
        if not path.is_file():
            there = ", ".join(sorted(path.stem for path in lists.glob("*.txt"))) or "none"
            raise UserError(f"{path}: no such list; choose one by --image-set (there: {there})")
        stems = read_names(path)
        raise_problems(
            [BadFile(path, f"lists {stem}, which is not in {folder}") for stem in stems if stem not in images]
        )
        images = {stem: images[stem] for stem in stems}
    if not images:
        raise UserError(f"{lists / f'{image_set}.txt' if lists.is_dir() else folder}: lists no image")
    return images


def _read(files: Mapping[str, Path], meaning: Mapping[int, int]) -> list[Mapping[str, Pixels]]:
    pixels = read_image(files[IMAGES])
    grey = _opened(files[IMAGES]).mode.startswith(("1", "L", "I", "F"))
    sample = {IMAGES: pixels[..., 0] if grey else pixels}
    for folder in (SCRIBBLES, TRUTH):
        if folder in files:
            sample[folder] = _labels(files[folder], meaning, pixels.shape[:2])
    return [sample]


def _labels(file: Path, meaning: Mapping[int, int], shape: tuple[int, ...]) -> Pixels:
    image = _opened(file)
    if image.mode not in ("P", "L"):
        raise BadFile(
            file, f"is a {image.mode} image; a PNG with a palette (or grey) is needed, whose values are classes"
        )
    values = np.asarray(image)
    if values.shape != shape:
        (height, width), (image_height, image_width) = values.shape, shape
        raise BadFile(file, f"is {width}x{height}, its image is {image_width}x{image_height}")
    return translate(values, meaning, file)


def _opened(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadFile(file, f"cannot be read as an image; it is damaged or truncated ({error})") from None
    return image


IMPORTER = Importer(find=find, options=frozenset({"scribbles", "names", "image_set"}), ignore_label=IGNORE_LABEL)
