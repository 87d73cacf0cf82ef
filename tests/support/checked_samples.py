"""Samples of a small data set for the doctor, and ways to damage their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from trainable.checks.diagnosis import Diagnosis
from trainable.data.dataset import Pixels

WIDTH, HEIGHT = 72, 48
IMAGE, SCRIBBLE, TRUTH = "train/images", "train/scribbles", "train/ground_truth"


def picture(seed: int) -> Pixels:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def scribble() -> Pixels:
    labels = np.full((HEIGHT, WIDTH), 255, np.uint8)
    labels[20, 25:40] = 1
    labels[5, 10:60] = 0
    return labels


def mask() -> Pixels:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[12:30, 20:48] = 1
    return labels


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def paint(path: Path, value: int, rows: slice = slice(None), columns: slice = slice(None)) -> None:
    pixels = np.array(Image.open(path))
    pixels[rows, columns] = value
    save(path, pixels)


def problems(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    return [(str(one.file.relative_to(diagnosis.folder)), one.kind, one.severity) for one in diagnosis.problems]
