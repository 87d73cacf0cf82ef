"""Volumes in NIfTI files: images, labels and scribbles in files of their own, cut into slices."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainable.data.dataset import BACKGROUND, IMAGES, SCRIBBLES, TRUTH, UNLABELLED, BadFile, Pixels
from trainable.data.importers.file_matching import ID, list_files, match_files
from trainable.data.importers.labels import mask_meaning, scribble_meaning, translate
from trainable.data.importers.planes import centred, planes_of, resampled, windowed
from trainable.data.importers.problems import missing_package, raise_problems
from trainable.data.importers.source import Entry, Importer, Options, Part, Source, existing_folder
from trainable.errors import UserError

NAME = "nifti"
SUFFIXES = (".nii.gz", ".nii")
FILL = {SCRIBBLES: UNLABELLED, TRUTH: BACKGROUND}
WINDOW = (0.5, 99.5)
AXIS = 2
LARGEST = 8192  # pixels of a slice, in width or height


@dataclass(frozen=True)
class Volume:
    """The files of one volume by folder, with the geometry in the header of its image."""

    name: str
    files: Mapping[str, Path]
    slices: int
    size: tuple[int, int]
    pixel: tuple[float, float]


def find(source: Path, options: Options) -> Source:
    """The slices of every image, with the labels and scribbles that match its name."""
    _nibabel()
    _check(options)
    images = list_files(existing_folder(source), options.images or IMAGES, SUFFIXES, "--images")
    partners = {
        SCRIBBLES: _partners(source, images, "scribbles", options.scribbles),
        TRUTH: _partners(source, images, "labels", options.labels),
    }
    groups = _groups(images, options.group)
    parts: list[Part] = []
    problems: list[BadFile] = []
    for image, name in images.items():
        files = {IMAGES: image} | {folder: found[image] for folder, found in partners.items() if image in found}
        try:
            volume = _look(name, files, AXIS if options.axis is None else options.axis)
        except BadFile as problem:
            problems.append(problem)
            continue
        entries = tuple(Entry(f"{name}_{k:02d}", name, k, groups[name]) for k in range(volume.slices))
        parts.append(Part(image, entries, tuple(files), partial(_read, volume, options)))
    return Source(tuple(parts), tuple(problems))


def _check(options: Options) -> None:
    if options.pixel_size is not None and not 0 < options.pixel_size < float("inf"):
        raise UserError(f"--pixel-size {options.pixel_size:g}: a size above 0 is needed")
    if options.crop is not None and max(options.crop) > LARGEST:
        raise UserError(f"--crop {options.crop[0]}x{options.crop[1]}: at most {LARGEST}x{LARGEST} is allowed")
    if options.unlabelled is not None and not 0 <= options.unlabelled < 2**16:
        raise UserError(f"--unlabelled {options.unlabelled}: 0 to 65535 are allowed")


def _partners(source: Path, images: Mapping[Path, str], kind: str, pattern: str | None) -> dict[Path, Path]:
    """The labels or scribbles of images; without a pattern, those in the folder of that name, if it is there."""
    if pattern is None and not (source / kind).is_dir():
        return {}
    where = pattern or kind
    found = match_files(images, list_files(source, where, SUFFIXES, f"--{kind}"), ID in where, SUFFIXES)
    if pattern is not None:
        problems = [BadFile(image, f"has no match in {source / where}") for image in images if image not in found]
        raise_problems(problems)
    return found


def _groups(images: Mapping[Path, str], pattern: str | None) -> dict[str, str]:
    """The group of each volume: what the pattern finds in its id, or the id itself."""
    if pattern is None:
        return {name: name for name in images.values()}
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--group {pattern!r}: is no regular expression ({error})") from None
    found = {name: expression.search(name) for name in images.values()}
    without = [BadFile(file, f"the group {pattern!r} is not in the id {name!r}") for file, name in images.items()]
    raise_problems([problem for problem, name in zip(without, images.values(), strict=True) if not found[name]])
    return {name: match[1 if expression.groups else 0] for name, match in found.items() if match}


def _look(name: str, files: Mapping[str, Path], axis: int) -> Volume:
    """What the headers say, without reading voxels."""
    headers = {folder: _load(file) for folder, file in files.items()}
    image = headers[IMAGES]
    for folder, header in headers.items():
        if len(header.shape) != 3 or not all(header.shape):
            raise BadFile(files[folder], f"has the shape {_text(header.shape)}; a volume has 3 dimensions")
        if header.shape != image.shape:
            raise BadFile(files[folder], f"has the shape {_text(header.shape)}, its image has {_text(image.shape)}")
    x, y = (k for k in range(3) if k != axis)
    zooms = [float(zoom) for zoom in image.header.get_zooms()]
    if not 0 < min(zooms) <= max(zooms) < float("inf"):
        raise BadFile(files[IMAGES], f"has voxels of {' x '.join(f'{zoom:g}' for zoom in zooms)} mm")
    shape = image.shape
    return Volume(name, files, int(shape[axis]), (int(shape[x]), int(shape[y])), (zooms[x], zooms[y]))


def _read(volume: Volume, options: Options) -> list[Mapping[str, Pixels]]:
    classes = options.classes
    unlabelled = len(classes) if options.unlabelled is None else options.unlabelled
    meanings = {SCRIBBLES: scribble_meaning(classes, unlabelled), TRUTH: mask_meaning(classes)}
    converted: dict[str, Sequence[Pixels]] = {}
    for folder, file in volume.files.items():
        values = planes_of(_voxels(file), AXIS if options.axis is None else options.axis)
        if folder == IMAGES:
            planes: Iterable[Any] = windowed(_finite(values, file), options.window or WINDOW)
        else:
            planes = translate(values, meanings[folder], file)
        converted[folder] = [_shaped(plane, volume, options, FILL.get(folder)) for plane in planes]
    return [{folder: planes[k] for folder, planes in converted.items()} for k in range(volume.slices)]


def _shaped(plane: npt.NDArray[Any], volume: Volume, options: Options, fill: int | None) -> Pixels:
    """A plane in the requested pixel size and crop; images are filled with their minimum."""
    if options.pixel_size is not None:
        width, height = (
            max(1, round(pixels * millimetres / options.pixel_size))
            for pixels, millimetres in zip(volume.size, volume.pixel, strict=True)
        )
        if max(width, height) > LARGEST:
            text = f"{width}x{height} slices, the largest are {LARGEST}x{LARGEST}"
            raise BadFile(volume.files[IMAGES], f"--pixel-size {options.pixel_size:g} makes {text}")
        plane = resampled(plane, (width, height))
    if options.crop is not None:
        plane = centred(plane, options.crop, float(plane.min()) if fill is None else fill)
    pixels: Pixels = np.rint(plane).astype(np.uint8)
    return pixels


def _finite(values: npt.NDArray[Any], file: Path) -> npt.NDArray[np.float32]:
    intensities = values.astype(np.float32)
    if not np.isfinite(intensities).all():
        raise BadFile(file, "contains voxels that are infinite or not a number")
    return intensities


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _load(file: Path) -> Any:
    nibabel = _nibabel()
    try:
        image = nibabel.load(file)
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise _unreadable(file, error) from None
    except nibabel.spatialimages.HeaderDataError as error:
        raise _unreadable(file, error) from None
    if not isinstance(image, nibabel.Nifti1Pair):
        raise BadFile(file, "is not a NIfTI file")
    if image.get_data_dtype().kind not in "iuf":
        raise BadFile(file, f"has voxels of the type {image.get_data_dtype()}; one number per voxel is needed")
    return image


def _voxels(file: Path) -> npt.NDArray[Any]:
    try:
        return np.asanyarray(_load(file).dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> BadFile:
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return BadFile(file, f"cannot be read as NIfTI; it is damaged or truncated ({line})")


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise missing_package(NAME, "nibabel") from None
    return nibabel


IMPORTER = Importer(
    find=find,
    options=frozenset({"images", "labels", "scribbles", "pixel_size", "crop", "window", "axis", "unlabelled", "group"}),
)
