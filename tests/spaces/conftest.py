"""A space as text, in which a test changes one thing."""

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
    """Write a space file: the small one with one text replaced by another, or any text or bytes."""

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
    """The space of this text."""

    def load(text=SMALL, old="", new="", overrides=()):
        return load_space(write(text, old, new), overrides)

    return load


@pytest.fixture
def problems(load):
    """The problems of this text, each as it is told, without the file's folder."""

    def problems(text=SMALL, old="", new="", overrides=()):
        with pytest.raises(SpaceError) as caught:
            load(text, old, new, overrides)
        return [str(problem).split("space.yaml:")[-1] for problem in caught.value.problems]

    return problems
