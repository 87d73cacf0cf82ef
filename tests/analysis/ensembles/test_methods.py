"""A run of methods on single images: its answer, its pictures, and an ensemble that is a manifest alone."""

import json

import numpy as np
import pytest
from fold_models_run import write_fold_models
from PIL import Image
from trained_run import train_run
from typer.testing import CliRunner

from analysis import load_ensemble
from analysis.__main__ import app
from search.runs.run_tables import read_run
from trainable.data.folds import load_folds
from trainable.data.image_files import open_files
from trainable.errors import UserError
from trainable.images.results import stored_masks


def analysis(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def config_of(run, method):
    documents = [json.loads(path.read_text()) for path in sorted(run.folder.glob("configs/*/config.json"))]
    return next(each["id"] for each in documents if each["config"]["method"] == method)


@pytest.fixture(scope="module")
def ensemble(image_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    done = analysis("ensemble", image_run.folder, "--config", config_of(image_run, "nearest"), "--out", folder)
    assert done.exit_code == 0 and "1 method without weights" in done.output
    return folder


def test_the_winner_and_its_interval_follow_from_the_counts(image_run):
    document = json.loads(analysis("best", image_run.folder, "--format", "json").stdout)
    assert document["winner"]["config"]["method"] == "random_walker" and len(document["winner"]["folds"]) == 3
    assert document["corrected"]["low"] < document["corrected"]["estimate"] < document["corrected"]["high"]
    tables = read_run(image_run)
    nearest = config_of(image_run, "nearest")
    assert len(tables.images([nearest])) == len(tables.images([nearest], "best", "original")) == 20


def test_the_masks_of_an_ensemble_are_those_that_the_folds_stored(image_run, ensemble, small_folder, tmp_path):
    assert [path.name for path in ensemble.iterdir()] == ["ensemble.json"]
    done = analysis("predict", ensemble, small_folder / "train", "--out", tmp_path / "masks", "--batch", 3)
    assert done.exit_code == 0 and "20 masks written" in done.output
    config = config_of(image_run, "nearest")
    for fold in range(3):
        folder = image_run.folder / "configs" / config / f"fold_{fold}"
        stems = [json.loads(line)["stem"] for line in (folder / "results.jsonl").read_text().splitlines()]
        for stem, mask in stored_masks(folder, stems).items():
            assert (pixels(tmp_path / f"masks/{stem}.png") == mask).all()
    scored = json.loads(analysis("evaluate", tmp_path / "masks", small_folder / "train", "--format", "json").stdout)
    assert scored["miou"] == pytest.approx(read_run(image_run).scores(read_run(image_run).images([config]))["miou"])


def test_a_split_without_truth_is_predicted_and_several_methods_are_averaged(image_run, small_folder, tmp_path):
    assert analysis("ensemble", image_run.folder, "--top", 2, "--out", tmp_path / "two").exit_code == 0
    done = analysis("predict", tmp_path / "two", small_folder / "test1", "--out", tmp_path / "masks", "--probabilities")
    assert done.exit_code == 0 and len(list((tmp_path / "masks").glob("*.png"))) == 3
    image, scribble = _first(small_folder)
    both = load_ensemble(tmp_path / "two", "cpu")
    parts = [segmenter.segment([(image, scribble)])[0][1] for segmenter in both.segmenters]
    assert len(parts) == 2 and np.allclose(both.predict(image, scribble).probability, np.mean(parts, axis=0), atol=1e-6)


FEATURES = """
name: features
data: {data}
folds: 3
trainable: image
parameters:
  method: {{values: [colour_distributions, finetune]}}
  features: fold
  features_from: MODELS
  tuning_steps: {{values: [1], when: {{method: finetune}}}}
  steps: 1
  evaluations: 1
scheduler: grid
"""


@pytest.fixture(scope="module")
def features_run(image_run, small_folder, small_cache, tmp_path_factory):
    """Methods that use fold models of the same folds, which were never trained."""
    home = tmp_path_factory.mktemp("features")
    folds = load_folds(image_run.folder / "folds.json")
    models = write_fold_models(home / "models", folds, architecture="unet")  # whose features differ enough untrained
    return train_run(home, FEATURES.replace("MODELS", str(models)), open_files(small_folder), small_cache), models


def test_an_ensemble_with_fold_models_averages_those_of_all_folds(features_run, small_folder, tmp_path):
    run, _ = features_run
    config = config_of(run, "colour_distributions")
    assert analysis("ensemble", run.folder, "--config", config, "--out", tmp_path / "one").exit_code == 0
    manifest = json.loads((tmp_path / "one/ensemble.json").read_text())
    assert manifest["trained_on_images"] == 20 and len(manifest["pretrained"][config]) == 3
    loaded = load_ensemble(tmp_path / "one", "cpu")
    assert {each.pretrained.file.path.parent.name for each in loaded.segmenters} == {"fold_0", "fold_1", "fold_2"}
    image, scribble = _first(small_folder)
    parts = [each.segment([(image, scribble)])[0][1] for each in loaded.segmenters]
    assert np.ptp(parts, axis=0).max() > 0.01, "all members are the same"
    assert np.allclose(loaded.predict(image, scribble).probability, np.mean(parts, axis=0), atol=1e-6)
    done = analysis("predict", tmp_path / "one", small_folder / "test1", "--out", tmp_path / "new")
    assert done.exit_code == 0 and "trained on" not in done.output
    done = analysis("predict", tmp_path / "one", small_folder / "train", "--out", tmp_path / "old")
    assert "20 of these images were trained on" in done.output


def test_an_ensemble_refuses_fold_models_that_have_changed(features_run, tmp_path):
    run, models = features_run
    assert analysis("ensemble", run.folder, "--top", 2, "--out", tmp_path / "two").exit_code == 0
    assert len(load_ensemble(tmp_path / "two", "cpu").segmenters) == 6
    changed = models / "configs/first/fold_2/best.pt"
    before = changed.read_bytes()
    changed.write_bytes((models / "configs/first/fold_0/best.pt").read_bytes())
    with pytest.raises(UserError, match=r"first/fold_2/best\.pt: has changed since the masks of the run were made"):
        load_ensemble(tmp_path / "two", "cpu")
    changed.write_bytes(before)


def _first(folder):
    files = open_files(folder)
    return files.read(files.stems[0])


def test_an_ensemble_of_methods_checks_its_input(ensemble, small_folder):
    loaded = load_ensemble(ensemble, "cpu")
    image, scribble = _first(small_folder)
    with pytest.raises(UserError, match="scribble: is missing"):
        loaded.predict(image)
    with pytest.raises(UserError, match="scribble: holds 7"):
        loaded.predict(image, np.full_like(scribble, 7))


def test_the_report_shows_stored_masks_and_no_calibration(image_run, tmp_path):
    assert analysis("report", image_run.folder, "--out", tmp_path).exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert "Images of the winner" in page and "calibration error" not in page
    assert "Configs, folds and curves" in page and page.count("steps, equal shares of the fold's images") == 2
    assert "training steps" not in page


def test_the_images_on_which_two_methods_differ_are_drawn(image_run, tmp_path):
    names = config_of(image_run, "nearest"), config_of(image_run, "random_walker")
    done = analysis("compare", image_run.folder, *names, "--out", tmp_path / "both.png", "--worst", 2)
    assert done.exit_code == 0 and "2 images, those on which they differ most" in done.output
    assert len(pixels(tmp_path / "both.png")) > 300


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("ensemble", "--tta", "flips"), "--tta flips: is for networks"),
        (("refine",), "refine is for runs of networks, not of methods on single images"),
        (
            ("export", "--out", "export"),
            "methods have nothing to retrain; python -m analysis ensemble writes their manifest",
        ),
    ],
)
def test_what_methods_cannot_do_is_one_line(image_run, words, problem):
    with pytest.raises(UserError, match=problem):
        analysis(words[0], image_run.folder, *words[1:])
