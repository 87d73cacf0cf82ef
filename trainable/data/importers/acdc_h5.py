"""ACDC as WSL4MIS lays it out: HDF5 files of slices and of volumes, with image, label and scribble inside."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainable.data.dataset import IMAGES, SCRIBBLES, TRUTH, BadFile, Pixels
from trainable.data.importers.labels import mask_meaning, scribble_meaning, translate
from trainable.data.importers.problems import missing_package, raise_problems
from trainable.data.importers.source import Entry, Importer, Options, Part, Source, existing_folder
from trainable.errors import UserError

NAME = "acdc-h5"
SLICE = re.compile(r"(?P<volume>.+)_slice_(?P<number>\d+)")
FRAME = re.compile(r"(?P<patient>.+)_frame\d+")
KEYS = {"image": IMAGES, "scribble": SCRIBBLES, "label": TRUTH}
TOLERANCE = 1e-3  # images that were resampled may lie slightly outside 0 to 1


def find(source: Path, options: Options) -> Source:
    """The slices of the folder and its sub-folders, and of each volume those that are not there as files."""
    _h5py()
    slices, volumes = _by_name(existing_folder(source))
    parts: list[Part] = []
    problems: list[BadFile] = []
    for volume in sorted(slices.keys() | volumes.keys()):
        for number, file in sorted(slices[volume].items()):
            try:
                _, keys = _look(file, dimensions=2)
                parts.append(_part(file, volume, [number], keys, options))
            except BadFile as problem:
                problems.append(problem)
        if volume in volumes:
            try:
                (count, *_), keys = _look(volumes[volume], dimensions=3)
                remaining = [number for number in range(count) if number not in slices[volume]]
                if remaining:
                    parts.append(_part(volumes[volume], volume, remaining, keys, options))
            except BadFile as problem:
                problems.append(problem)
    return Source(tuple(parts), tuple(problems))


def _by_name(source: Path) -> tuple[defaultdict[str, dict[int, Path]], dict[str, Path]]:
    """The files of slices by volume and number, and the files of volumes."""
    files = [path for path in sorted([*source.glob("*.h5"), *source.glob("*/*.h5")]) if not path.name.startswith(".")]
    if not files:
        raise UserError(f"{source}: contains no .h5 file, nor does a folder in it")
    slices: defaultdict[str, dict[int, Path]] = defaultdict(dict)
    volumes: dict[str, Path] = {}
    problems = []
    for file in files:
        if match := SLICE.fullmatch(file.stem):
            first = slices[match["volume"]].setdefault(int(match["number"]), file)
        else:
            first = volumes.setdefault(file.stem, file)
        if first != file:
            problems.append(BadFile(file, f"holds the same slices as {first}, by its name"))
    raise_problems(problems)
    return slices, volumes


def _part(file: Path, volume: str, numbers: Sequence[int], keys: Sequence[str], options: Options) -> Part:
    match = FRAME.fullmatch(volume)
    group = match["patient"] if match else volume
    entries = tuple(Entry(f"{volume}_{number:02d}", volume, number, group) for number in numbers)
    read = partial(_read, file, keys, numbers, options.classes)
    return Part(file, entries, tuple(KEYS[key] for key in keys), read)


def _read(
    file: Path, keys: Sequence[str], numbers: Sequence[int], classes: Sequence[str]
) -> list[Mapping[str, Pixels]]:
    with _opened(file) as h5:
        arrays = {key: h5[key][()] for key in keys}
    converted = {KEYS["image"]: _image(arrays.pop("image"), file)}
    meanings = {"label": mask_meaning(classes), "scribble": scribble_meaning(classes, len(classes))}
    converted |= {KEYS[key]: translate(values, meanings[key], file, f"{key!r}") for key, values in arrays.items()}
    if converted[IMAGES].ndim == 2:
        return [converted]
    return [{folder: pixels[number] for folder, pixels in converted.items()} for number in numbers]


def _image(values: Any, file: Path) -> Pixels:
    low, high = float(values.min()), float(values.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # also true if they are not numbers
        raise BadFile(file, f"'image' has values from {low:g} to {high:g}; expected are 0 to 1")
    pixels: Pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return pixels


def _look(file: Path, dimensions: int) -> tuple[tuple[int, ...], list[str]]:
    """The shape of a file's image and which keys it has, without reading pixels."""
    with _opened(file) as h5:
        keys = [key for key in KEYS if key in h5]
        if "image" not in keys:
            raise BadFile(file, f"has no key 'image', only {', '.join(h5) or 'nothing'}")
        for key in keys:
            if getattr(h5[key], "dtype", np.dtype("V")).kind not in "iuf":
                raise BadFile(file, f"{key!r} is no array of numbers")
        shapes: dict[str, tuple[int, ...]] = {key: h5[key].shape for key in keys}
    shape = shapes["image"]
    if len(shape) != dimensions or not all(shape):
        kind = "slice" if dimensions == 2 else "volume"
        raise BadFile(file, f"'image' has the shape {_text(shape)}; a {kind} has {dimensions} dimensions")
    for key in keys:
        if shapes[key] != shape:
            raise BadFile(file, f"{key!r} has the shape {_text(shapes[key])}, 'image' has {_text(shape)}")
    return shape, keys


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "()"


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    h5py = _h5py()
    try:
        with h5py.File(file, "r") as opened:
            yield opened
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        # What h5py raises for a damaged file depends on which of its structures the damage hits.
        raise BadFile(file, f"cannot be read as HDF5; it is damaged or truncated ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise missing_package(NAME, "h5py") from None
    return h5py


IMPORTER = Importer(find=find, classes=("background", "RV", "MYO", "LV"))
