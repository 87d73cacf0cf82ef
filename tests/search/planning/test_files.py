"""The files that the configs of a space need, and what a run remembers of them."""

import json

import pytest
from fold_models_run import write_fold_models

from search.commands.launch_record import check_run, record_launch
from search.commands.submit import copy_weights
from search.planning.files import unlabelled_splits, weights_files
from search.runs.run_folder import Run
from spaces.load import make_space
from trainable.data.folds import Folds
from trainable.errors import UserError


def space_of(**parameters):
    return make_space({"name": "demo", "data": "data", "parameters": {"pc": {"values": [1, 3]}, **parameters}})


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    for name in ("a.pt", "b.pt"):
        (tmp_path / "weights" / name).write_text(name)
    return tmp_path


def test_files_of_all_values_are_opened(files):
    assert weights_files(space_of()) == weights_files(space_of(encoder_weights="imagenet")) == {}
    assert list(weights_files(space_of(encoder_weights="weights/a.pt"))) == ["weights/a.pt"]
    values = {"values": ["none", "imagenet", "weights/a.pt", "weights/b.pt"]}
    found = weights_files(space_of(encoder_weights=values))
    assert {name: file.path for name, file in found.items()} == {
        f"weights/{name}": files / "weights" / name for name in ("a.pt", "b.pt")
    }


def test_each_encoder_of_a_space_may_have_its_own_file(files):
    space = space_of(
        encoder={"values": ["resnet18", "resnet34"]},
        encoder_weights={"values": ["weights/a.pt"], "when": {"encoder": ["resnet18"]}},
    )
    pairs = {(point.config.encoder, point.config.encoder_weights) for point in space.configs()}
    assert pairs == {("resnet18", "weights/a.pt"), ("resnet34", None)}


def test_fold_models_of_a_run_are_files_of_weights_too(tmp_path):
    folds = Folds(2, 0, "a" * 64, {"a": 0, "b": 1})
    source = str(write_fold_models(tmp_path / "source", folds))
    values = {"method": "finetune", "features": "fold", "features_from": source}
    space = make_space({"name": "demo", "data": "data", "trainable": "image", "folds": 2, "parameters": values})
    found = weights_files(space)
    assert {name: file.path.parent.name for name, file in found.items()} == {
        f"{source}, fold 0": "fold_0",
        f"{source}, fold 1": "fold_1",
    }
    copy_weights(space, tmp_path / "job")  # an absolute path is one on the cluster
    local = make_space(space.canonical() | {"parameters": values | {"features_from": "runs/source"}})
    with pytest.raises(UserError, match=r"^features_from: runs/source: is a run in the working folder, which the"):
        copy_weights(local, tmp_path / "job")


@pytest.mark.parametrize(("value", "problem"), [("c.pt", "there is no such file"), ("weights", "is a folder")])
def test_a_file_that_cannot_be_read_is_an_error_before_the_launch(files, value, problem):
    with pytest.raises(UserError, match=rf"^encoder_weights: {value}: {problem}.*; allowed are none, imagenet, a file"):
        weights_files(space_of(encoder_weights=value))


def test_splits_without_labels_are_listed_once():
    values = {"values": ["test1", "test2,test1", "none"], "when": {"pretraining": ["dino"]}}
    space = space_of(pretraining={"values": ["none", "dino"]}, pretraining_data=values)
    assert unlabelled_splits(space) == ("test1", "test2") and unlabelled_splits(space_of()) == ()


def test_a_run_is_not_resumed_if_a_file_of_weights_has_changed(files):
    space, run = space_of(encoder_weights="weights/a.pt"), Run(files / "runs" / "demo")

    def contents():
        return {name: file.hash for name, file in weights_files(space).items()}

    record_launch(run, space, None, weights=contents())
    check_run(space, run, None, False, contents())
    (files / "weights/a.pt").write_text("others")
    with pytest.raises(UserError, match=r"demo: the weights in weights/a.pt have changed since it was launched"):
        check_run(space, run, None, False, contents())


def test_a_run_without_files_remembers_nothing_of_them(files):
    run = Run(files / "runs" / "demo")
    record_launch(run, space_of(), None)
    assert "encoder_weights" not in json.loads((run.folder / "env.json").read_text())
    check_run(space_of(), run, None, False, {})


def test_a_submitted_search_takes_the_files_in_the_working_folder_along(files):
    copy_weights(space_of(encoder_weights={"values": ["weights/a.pt", "/there/b.pt", "s3://b/c.pt"]}), files / "job")
    assert list((files / "job").rglob("*.pt")) == [files / "job/weights/a.pt"]
    for name in ("weights/c.pt", "weights/../weights/a.pt"):
        with pytest.raises(UserError, match="is not a file in the working folder, which would be uploaded"):
            copy_weights(space_of(encoder_weights=name), files / "job")
