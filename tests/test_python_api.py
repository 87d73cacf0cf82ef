"""The examples of docs/python.md run as printed, and the API refuses invalid arguments."""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from forked_child import CHILDREN

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "python.md").read_text()
BLOCK = re.compile(r"```(?:(?:python|yaml) (\S+))?\n(.*?)```", re.S)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, small_folder, fork_server):
    """The output of each example, by its file name; the commands between them run too."""
    home = tmp_path_factory.mktemp("api")
    (home / "data").mkdir()
    (home / "data" / "scribbles").symlink_to(small_folder)
    (home / "image.png").symlink_to(next((small_folder / "train" / "images").iterdir()))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCRIBBLE_SEARCH_CACHE": str(home / "cache"), CHILDREN: "1"}
    printed = {}
    for name, text in BLOCK.findall(GUIDE):
        if name:
            (home / name).write_text(text)
        words = [home / name] if name.endswith(".py") else shlex.split(text)[1:] if not name else None
        if words is not None:
            done = fork_server.run(words, home, environment)
            assert done.returncode == 0, f"{name or text}: {done.stderr}"
            printed[name or text] = done.stdout
    return printed


def test_a_launched_search_is_opened_as_tables(outputs):
    text = outputs["launch.py"]
    assert "ended: every job is done" in text
    assert text.count("done") >= 4, "2 configs x 2 folds"
    assert "'folds': 2" in text and "dice" in text


def test_the_winner_has_parameters_and_peers(outputs):
    config = outputs["winner.py"].split()[0]
    assert config in outputs["launch.py"]
    assert config in outputs["winner.py"].splitlines()[1]


def test_the_ensemble_predicts_arrays_of_the_images_size(outputs):
    assert outputs["masks.py"].startswith("(80, 96) uint8")


def test_a_fold_is_trained_without_a_search(outputs):
    steps = [int(line.split()[0]) for line in outputs["fold.py"].splitlines()]
    assert steps == sorted(steps) and steps[-1] == 8


def test_a_fold_of_several_classes_is_trained(outputs):
    classes, report = outputs["classes.py"].splitlines()
    assert classes == "('background', 'ring', 'core', 'crescent')"
    step, by_volume, ring = report.split()
    assert step == "4" and 0 <= float(by_volume) <= 1 and 0 <= float(ring) <= 1


@pytest.mark.parametrize("room", ["search", "analysis", "trainable"])
def test_an_unknown_name_of_a_package_is_an_attribute_error(room):
    package = __import__(room)
    assert all(getattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match=f"module '{room}' has no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.parametrize(
    ("image", "scribble", "message"),
    [
        (
            np.zeros((8, 9, 3)),
            np.zeros((8, 9), np.uint8),
            "image: must be a uint8 array of shape .H, W, 3., not float64",
        ),
        (np.zeros((8, 9), np.uint8), np.zeros((8, 9), np.uint8), "image: must be"),
        (np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9, 1), np.uint8), "scribble: must be"),
        (np.zeros((8, 9, 3), np.uint8), np.zeros((9, 8), np.uint8), r"scribble: has shape \(9, 8\), but the image has"),
        (np.zeros((8, 9, 3), np.uint8), np.full((8, 9), 7, np.uint8), "scribble: holds 7; allowed are 0"),
    ],
)
def test_invalid_arrays_are_refused_with_the_expected_shape_and_type(image, scribble, message):
    from analysis.ensembles.ensemble import Ensemble
    from trainable.errors import UserError

    ensemble = Ensemble.__new__(Ensemble)  # without members, which the check of arguments does not need
    ensemble.classes, ensemble.channels, ensemble.sees_scribbles = ("background", "foreground"), 3, True
    with pytest.raises(UserError, match=message):
        ensemble.predict(image, scribble)


def test_overrides_of_a_dictionary_are_refused():
    from search import launch

    with pytest.raises(TypeError, match="change the dictionary"):
        launch({"name": "first"}, ["folds=2"])
