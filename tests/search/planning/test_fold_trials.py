"""What a launch finds out about decoded images before a fold trial starts."""

import shutil

import numpy as np
import pytest
from PIL import Image

import search.planning.fold_trials
from search.planning.fold_trials import check_networks_of
from spaces.load import make_space
from trainable.data.decoded_images import open_data
from trainable.errors import UserError

SCRIBBLED = {"supervision": {"values": ["masks", "scribbles"]}, "inputs": "image"}


@pytest.fixture
def lacking(class_folder, tmp_path):
    """The data set with scribbles of its third class in one volume alone."""
    folder = shutil.copytree(class_folder, tmp_path / "data")
    for path in sorted((folder / "train/scribbles").iterdir())[4:]:
        labels = np.array(Image.open(path))
        labels[labels == 2] = 255
        Image.fromarray(labels).save(path)
    return open_data(folder, (64, 64), cache=tmp_path / "cache")


@pytest.fixture(autouse=True)
def no_networks(monkeypatch):
    monkeypatch.setattr(search.planning.fold_trials, "check_networks", lambda configs: None)


def check(data, **parameters):
    tree = {"name": "checked", "data": str(data.split.root.parent), "folds": 3, "parameters": parameters}
    check_networks_of(make_space(tree), data, {})


def test_a_search_does_not_start_if_a_fold_could_not_learn_a_class(lacking):
    with pytest.raises(UserError, match=r"training images of fold \d has a scribble of core"):
        check(lacking, **SCRIBBLED)


@pytest.mark.parametrize("parameters", [{}, {"supervision": "masks", "loss": "dice"}])
def test_scribbles_do_not_matter_to_what_is_learnt_from_masks(lacking, parameters):
    check(lacking, **parameters)


def test_whole_scribbles_are_enough(class_data):
    check(class_data, **SCRIBBLED)
