"""Fold models of a run: which config, from where, and which runs are refused."""

import json
from dataclasses import replace

import pytest
from fold_models_run import write_fold_models

from trainable.data.folds import Folds
from trainable.errors import UserError
from trainable.images.pretrained.fold_models import fold_file, open_fold_models
from trainable.storage.object_store import Store

FOLDS = Folds(3, 0, "a" * 64, {f"image{number}": number % 3 for number in range(9)})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home") / "runs" / "source"
    return write_fold_models(folder, FOLDS, (("worse", 0.5), ("better", 0.6)))


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the run whose files can be changed; models are not copied but linked."""
    for path in run.rglob("*"):
        there = tmp_path / "copy" / path.relative_to(run)
        if path.is_dir():
            there.mkdir(parents=True, exist_ok=True)
        else:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())
    return tmp_path / "copy"


def test_the_models_are_those_of_the_winner_or_of_the_config_that_is_given(run, monkeypatch):
    monkeypatch.chdir(run.parents[1])
    for source in (str(run), "source", "runs/source"):
        found = open_fold_models(source)
        assert found.config == "better" and found.folds == FOLDS and found.source == source
        assert [file.path.parent.name for file in found.files] == ["fold_0", "fold_1", "fold_2"]
        assert list(found.named()) == [fold_file(source, fold) for fold in range(3)]
    assert open_fold_models(f"{run}/configs/worse").config == "worse"


def test_a_config_that_lacks_a_fold_cannot_be_the_winner_and_is_refused(copied):
    (copied / "configs/better/fold_1/best.pt").unlink()
    assert open_fold_models(str(copied)).config == "worse"
    with pytest.raises(UserError, match=r"copy/configs/better: config better has no finished model of fold_1$"):
        open_fold_models(f"{copied}/configs/better")
    (copied / "configs/worse/fold_2/scores.json").unlink()
    with pytest.raises(UserError, match="no config of this run has finished models of all folds"):
        open_fold_models(str(copied))


def test_a_run_of_methods_and_no_run_at_all_are_refused_in_one_line(copied, tmp_path):
    (copied / "space.yaml").write_text(json.dumps({"trainable": "image", "metric": {"name": "miou"}}))
    with pytest.raises(UserError, match="its fold trials are image, which leave no models of networks"):
        open_fold_models(str(copied))
    with pytest.raises(UserError, match=r"^features_from = nowhere: no such run, here or in runs/$"):
        open_fold_models("nowhere")


@pytest.mark.parametrize(
    ("folds", "problem"),
    [
        (replace(FOLDS, data_hash="b" * 64), "its data are others .aaaaaaaaaaaa, these are bbbbbbbbbbbb.$"),
        (replace(FOLDS, count=4), "it has 3 folds, here there are 4$"),
        (
            replace(FOLDS, seed=1, assignment=FOLDS.assignment | {"image4": 2, "image6": 1}),
            r"2 images of 9 held out in other folds, such as image4 \(1, here 2\); its fold_seed is 0, here it is 1$",
        ),
    ],
)
def test_models_that_may_have_seen_an_image_are_refused(run, folds, problem):
    models = open_fold_models(str(run))
    models.check_folds(FOLDS)
    with pytest.raises(UserError, match=f"needs the same data and folds: {problem}"):
        models.check_folds(folds)


def test_a_run_in_an_object_store_is_read_without_its_other_models(run, object_store, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    store = Store(object_store.url("runs/source"))
    for path in run.rglob("*"):
        if path.is_file():
            store.put(path, path.relative_to(run).as_posix())
    found = open_fold_models(object_store.url("runs/source"))
    ours = open_fold_models(str(run))
    assert found.config == "better" and [file.hash for file in found.files] == [file.hash for file in ours.files]
    assert len(list((tmp_path / "cache").rglob("best.pt"))) == 3, "models of other configs were downloaded"
    assert open_fold_models(object_store.url("runs/source/configs/worse")).config == "worse"
    with pytest.raises(UserError, match="no such run in the object store"):
        open_fold_models(object_store.url("runs/other"))
