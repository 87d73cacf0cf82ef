"""A small data set of grey slices of four classes, without any problem; each test changes a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


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
