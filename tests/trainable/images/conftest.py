"""The files of a small data set, and its folds."""

import pytest

from trainable.data.folds import folds_of
from trainable.data.image_files import open_files


@pytest.fixture(scope="module")
def files(small_folder):
    return open_files(small_folder)


@pytest.fixture(scope="module")
def folds(files):
    return folds_of(files, 4, 0)
