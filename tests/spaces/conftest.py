"""Fixtures that write and load a small space file after one change."""

from __future__ import annotations

import pytest

from spaces.load import load_space
from spaces.yaml_file.problems import SpaceError

SMALL = """\
name: small
data: somewhere
parameters:
  loss: {values: [iou, dice]}
  pc: {values: [1, 2, 3]}
"""


@pytest.fixture
def write(tmp_path):
    """Write a space file: by default the small one, with ``old`` replaced by ``new``."""

    def write(text=SMALL, old="", new=""):
        path = tmp_path / "space.yaml"
        if old:
            assert old in text
            text = text.replace(old, new, 1)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def load(write):
    """Load a space from text."""

    def load(text=SMALL, old="", new="", overrides=()):
        return load_space(write(text, old, new), overrides)

    return load


@pytest.fixture
def problems(load):
    """Return the problem messages of a text, without the file's folder."""

    def problems(text=SMALL, old="", new="", overrides=()):
        with pytest.raises(SpaceError) as caught:
            load(text, old, new, overrides)
        return [str(problem).split("space.yaml:")[-1] for problem in caught.value.problems]

    return problems
