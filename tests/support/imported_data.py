"""Small sources in the layouts of their publishers, and what an import has written."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]

CLASSES = "background,RV,MYO,LV"
RAW = Path(__file__).resolve().parents[2] / "../shared/data/raw_samples"


def volume(slices: int = 3, height: int = 6, width: int = 4) -> dict[str, Array]:
    """A volume as WSL4MIS stores it: intensities of 0 to 1, and every label and scribble value."""
    rng = np.random.default_rng(0)
    shape = (slices, height, width)
    label = rng.integers(0, 4, shape, np.uint8)
    scribble = np.where(rng.random(shape) < 0.5, label, 4).astype(np.uint16)
    return {"image": rng.integers(0, 256, shape) / np.float32(255), "label": label, "scribble": scribble}


def write_h5(path: Path, **arrays: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file.create_dataset(key, data=values)
    return path


def write_slices(folder: Path, name: str, arrays: dict[str, Array]) -> list[Path]:
    return [
        write_h5(folder / f"{name}_slice_{k}.h5", **{key: values[k] for key, values in arrays.items()})
        for k in range(len(arrays["image"]))
    ]


def write_nifti(path: Path, values: Array, zooms: tuple[float, ...] = (1.0, 1.0, 5.0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_zooms((*zooms, 1.0)[: values.ndim])
    nibabel.save(image, path)
    return path


def write_palette(path: Path, values: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, np.uint8))
    image.putpalette([*range(256)] * 3)
    image.save(path)
    return path


def pixels(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
