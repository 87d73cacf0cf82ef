"""A labelled split that a finished model is scored on besides: never trained on, never selected by."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small_config
from dice_by_hand import dice
from PIL import Image
from typer.testing import CliRunner

from analysis.ensembles.ensemble import Ensemble, read_member
from trainable.__main__ import app
from trainable.data.decoded_images import open_data
from trainable.data.folds import folds_of
from trainable.data.reading import read_image
from trainable.errors import UserError
from trainable.objectives.metrics import from_columns, metrics_of, scores
from trainable.storage.checked_json import read_checked, write_checked
from trainable.training import checkpoint
from trainable.training.fold import train_fold
from trainable.training.labels import open_validation

pytestmark = pytest.mark.usefixtures("narrow_decoders")

VALUES = {"inputs": "image", "steps": 4, "evaluations": 2, "augmentation": "none", "ema": 0.5, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def folder(class_folder, tmp_path_factory):
    """The data set with a split ``val`` of five of its slices mirrored, four of them with masks."""
    folder = shutil.copytree(class_folder, tmp_path_factory.mktemp("data") / "data")
    for kind in ("images", "scribbles", "ground_truth"):
        (folder / "val" / kind).mkdir(parents=True)
        for number, path in enumerate(sorted((folder / "train" / kind).iterdir())[:5]):
            if kind != "ground_truth" or number:
                picture = Image.fromarray(np.asarray(Image.open(path))[:, ::-1])
                picture.save(folder / "val" / kind / f"mirrored_{path.stem}.png")
    return folder


@pytest.fixture(scope="module")
def data(folder, small_cache):
    return open_data(folder, (64, 64), cache=small_cache)


@pytest.fixture(scope="module")
def validation(data, small_cache):
    return open_validation(data, "val", small_cache)


@pytest.fixture(scope="module")
def trained(data, validation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fold")
    reports = list(train_fold(small_config(**VALUES), data, folds_of(data, 3, 0), 0, folder, validation=validation))
    return folder, reports


def test_scores_of_the_split_are_those_of_the_best_weights_at_original_size(trained, validation):
    folder, _ = trained
    told = json.loads((folder / "scores.json").read_text())["best"]["validation"]
    model, masks, truths = Ensemble([read_member("c", 0, folder)], 0.5, "none"), [], []
    for stem, path in sorted(validation.split.truth.items()):
        masks.append(model.predict(read_image(validation.split.images[stem], "L")).mask)
        truths.append(np.asarray(Image.open(path)))
    masks, truths = np.stack(masks), np.stack(truths)
    assert len(masks) == 4 and masks.shape[1:] == (80, 96)
    for label, name in enumerate(("ring", "core", "crescent"), 1):
        assert told[f"dice_{name}"] == pytest.approx(dice(masks, truths, label) or 0.0, abs=0.01)
    assert set(told) == set(metrics_of(validation.task)), "the split is not one of volumes"


def test_the_table_of_the_split_has_a_row_for_each_image_with_a_mask(trained, validation):
    folder, _ = trained
    table = pd.read_parquet(folder / "validation.parquet")
    assert sorted(table["stem"]) == sorted(validation.split.truth) and set(table["fold"]) == {0}
    counts = from_columns(table, 4)
    assert (counts.sum(axis=(1, 2)) == 96 * 80).all()
    told = json.loads((folder / "scores.json").read_text())["best"]["validation"]
    assert told == pytest.approx(scores(counts, validation.task))
    assert not any("mirrored" in stem for stem in pd.read_parquet(folder / "images.parquet")["stem"])


def test_weights_and_all_other_results_are_the_same_without_it(trained, data, tmp_path):
    folder, reports = trained
    others = list(train_fold(small_config(**VALUES), data, folds_of(data, 3, 0), 0, tmp_path))
    assert [(each.loss, each.scores) for each in others] == [(each.loss, each.scores) for each in reports]
    ours, theirs = (checkpoint.load(place / "best.pt") for place in (folder, tmp_path))
    assert all(torch.equal(theirs["weights"][name], tensor) for name, tensor in ours["weights"].items())
    summary = read_checked(folder / "scores.json")
    assert summary["best"].pop("validation") and summary == read_checked(tmp_path / "scores.json")
    assert (folder / "images.parquet").read_bytes() == (tmp_path / "images.parquet").read_bytes()
    assert not (tmp_path / "validation.parquet").exists()


def test_a_fold_that_has_finished_is_scored_on_the_split_when_asked(trained, data, validation, tmp_path):
    folder, _ = trained
    ours = shutil.copytree(folder, tmp_path / "fold")
    scores_file, table = (ours / name for name in ("scores.json", "validation.parquet"))
    expected, told = scores_file.read_bytes(), table.read_bytes()
    without = read_checked(scores_file)
    del without["best"]["validation"]
    write_checked(scores_file, without)
    table.unlink()
    again = list(
        train_fold(
            small_config(**VALUES), data, folds_of(data, 3, 0), 0, ours, validation=validation, keep_probabilities=True
        )
    )
    assert [report.finished for report in again] == [True]
    assert scores_file.read_bytes() == expected and table.read_bytes() == told
    maps = {path.stem for path in (ours / "probabilities").iterdir()}
    assert maps == {data.stems[index] for index in data.indices(folds_of(data, 3, 0).held_out(0))}
    written = table.stat().st_mtime_ns
    list(train_fold(small_config(**VALUES), data, folds_of(data, 3, 0), 0, ours, validation=validation))
    assert table.stat().st_mtime_ns == written, "what is there stays"


def test_the_split_is_scored_on_masks_though_the_folds_have_none(folder, tmp_path):
    unmasked = shutil.copytree(folder, tmp_path / "unmasked")
    shutil.rmtree(unmasked / "train/ground_truth")
    data = open_data(unmasked, (64, 64), cache=tmp_path / "cache")
    validation = open_validation(data, "val", tmp_path / "cache")
    config = small_config(**{**VALUES, "supervision": "scribbles", "steps": 1, "evaluations": 1})
    list(train_fold(config, data, folds_of(data, 3, 0), 0, tmp_path / "fold", validation=validation))
    validated = from_columns(pd.read_parquet(tmp_path / "fold/validation.parquet"), 4)
    assert (validated.sum(axis=(1, 2)) == 96 * 80).all(), "every pixel has a truth"
    held_out = pd.read_parquet(tmp_path / "fold/images.parquet").query("size == 'original'")
    assert (from_columns(held_out, 4).sum(axis=(1, 2)) < 96 * 80 / 4).all(), "scribbled pixels only"


@pytest.mark.parametrize(
    ("name", "message"),
    [("train", "validation = train: is the split that is trained on"), ("vol", "has no split 'vol'.*Did you mean")],
)
def test_a_split_that_cannot_be_is_refused(data, small_cache, name, message):
    with pytest.raises(UserError, match=message):
        open_validation(data, name, small_cache)


def test_a_split_without_masks_or_of_other_channels_is_refused(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    for path in (other / "val/images").iterdir():
        pixels = np.repeat(np.asarray(Image.open(path))[..., None], 3, axis=2).copy()
        pixels[..., 0] //= 2
        Image.fromarray(pixels).save(path)
    data = open_data(other, (64, 64), cache=tmp_path / "cache")
    with pytest.raises(UserError, match="its images are coloured, those of train are grey"):
        open_validation(data, "val", tmp_path / "cache")
    shutil.rmtree(other / "val/ground_truth")
    with pytest.raises(UserError, match=r"val: .*has no ground_truth/, so nothing can be scored on it"):
        open_validation(data, "val", tmp_path / "cache")


@pytest.fixture
def fit(folder, small_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def program(*words, data=folder):
        values = {"encoder": "test_resnet", "attention": "none", "batch_size": 4, "steps": 1, "evaluations": 1}
        sets = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
        words = ["fit", data, "--folds", 3, "--cache", small_cache, "--device", "cpu", *sets, *words]
        done = CliRunner().invoke(app, [str(word) for word in words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return program


@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_fit_prints_the_split_in_a_row_of_its_own(fit, tmp_path, output):
    done = fit(
        "--validation", "val", "--out", "fold", "--metric", "dice_volume", "--set", "size=64x64", "--format", output
    )
    assert done.exit_code == 0 and "warning: validation = val: has no volumes.csv" in done.stderr
    summary = read_checked(tmp_path / "fold/scores.json")
    if output == "json":
        assert json.loads(done.stdout) == summary
    else:
        words = [line.replace(",", " ").split() for line in done.stdout.splitlines()]
        rows = [line for line in words if line[:1] == ["best"]]
        assert [row[2] for row in rows] == ["original", "working", "validation"]
        for row, size in zip(rows, ("original", "working", "validation"), strict=True):
            told, exact = row[3:], summary["best"][size]
            for name in ("miou", "dice", "dice_ring", "dice_core", "dice_crescent"):
                assert any(float(word) == pytest.approx(exact[name], abs=6e-5) for word in told), name
        if output == "table":
            assert len(rows[0]) == 3 + 6, "the metric, miou and Dice coefficients fit a table"


def test_fit_refuses_a_split_that_does_not_exist_before_it_trains(fit, tmp_path):
    with pytest.raises(UserError, match="has no split 'nowhere'"):
        fit("--validation", "nowhere", "--out", "fold")
    assert not (tmp_path / "fold").exists()


def test_fit_refuses_wrong_volumes_and_missing_scribbles_of_the_split_before_it_trains(fit, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "val/volumes.csv").write_text("stem,volume,slice\nnone,a,1\n")
    with pytest.raises(UserError, match=r"val/volumes.csv, line 2: no image has the stem 'none'"):
        fit("--validation", "val", "--out", "fold", "--set", "inputs=image", data=other)
    (other / "val/volumes.csv").unlink()
    shutil.rmtree(other / "val/scribbles")
    with pytest.raises(UserError, match=r"^validation = val: .*/val has no scribbles/, which networks with inputs"):
        fit("--validation", "val", "--out", "fold", data=other)
    assert not (tmp_path / "fold").exists()
