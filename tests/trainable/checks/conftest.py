"""Small data sets without any problem: pictures of two classes, and grey slices of four; each test changes its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from checked_samples import mask, picture, save, scribble


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six labelled samples and two without truth, in the formats that are allowed."""
    for k in range(8):
        split = tmp_path / "data" / ("train" if k < 6 else "test1")
        save(split / "images" / f"p{k}.{'png' if k % 2 else 'jpg'}", picture(k))
        save(split / "scribbles" / f"p{k}.png", np.repeat(scribble()[..., None], 3, 2) if k % 3 else scribble())
        if k < 6:
            save(split / "ground_truth" / f"p{k}.png", mask() * (255 if k == 4 else 1))
    return tmp_path / "data"


@pytest.fixture(scope="session")
def pristine_slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from trainable.data.synthetic.synthesize import synthesize

    folder = tmp_path_factory.mktemp("slices") / "data"
    synthesize(folder, 18, 6, 96, 80, seed=0, classes=4, volumes=3, grey=True)
    return folder


@pytest.fixture
def slices(pristine_slices: Path, tmp_path: Path) -> Path:
    """Volumes 000 to 002 of 6 slices each in train, one volume without truth in test1."""
    return Path(shutil.copytree(pristine_slices, tmp_path / "data"))
