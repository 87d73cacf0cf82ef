"""The fold loop on several classes in volumes of grey slices."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small_config

from trainable.data.dataset import IGNORED
from trainable.data.decoded_images import open_data
from trainable.data.folds import folds_of
from trainable.data.reading import read_mask
from trainable.errors import UserError
from trainable.objectives.metrics import count, from_columns, metrics_of, scores, table_columns
from trainable.storage.checked_json import read_lines
from trainable.training import checkpoint
from trainable.training.evaluate import evaluate, original_probabilities
from trainable.training.fold import train_fold
from trainable.training.trial import FoldTrial, autocast_for

pytestmark = pytest.mark.usefixtures("narrow_decoders")

CPU = torch.device("cpu")
HARD = {"augmentation": "high", "dropout": 0.5, "ema": 0.9}


def train(data, folds, folder, fold=0, metric="miou", options=None, **values):
    return list(train_fold(small_config(**values), data, folds, fold, folder, metric=metric, **(options or {})))


@pytest.fixture(scope="module")
def trained(class_data, class_folds, tmp_path_factory):
    """A whole fold, its reports and its folder."""
    folder = tmp_path_factory.mktemp("classes")
    options = {"keep_probabilities": True}
    return train(class_data, class_folds, folder, metric="dice_volume", options=options, **HARD), folder


def test_reports_have_every_metric_of_the_data_set(trained, class_data):
    reports, folder = trained
    assert [report.step for report in reports] == [2, 4, 6, 8]
    for report in reports:
        assert tuple(report.scores) == metrics_of(class_data.task, volumes=True)
        assert all(0 <= value <= 1 for value in report.scores.values())
        assert math.isfinite(report.loss) and math.isfinite(report.validation_loss)
    lines = read_lines(folder / "metrics.jsonl")
    assert lines == [report.as_dict() for report in reports]


def test_tables_have_the_counts_and_the_volume_of_every_held_out_image(trained, class_data, class_folds):
    reports, folder = trained
    table = pd.read_parquet(folder / "images.parquet")
    assert list(table.columns) == [*table_columns(4), "stem", "volume", "fold", "weights", "size", "step"]
    summary = json.loads((folder / "scores.json").read_text())
    for (weights, size), rows in table.groupby(["weights", "size"]):
        assert sorted(rows["stem"]) == class_folds.held_out(0)
        assert list(rows["volume"]) == [class_data.volumes[stem] for stem in rows["stem"]]
        counts = from_columns(rows, 4)
        assert (counts.sum(axis=(1, 2)) == (64 * 32 if size == "working" else 96 * 80)).all()
        expected = scores(counts, class_data.task, list(rows["volume"]))
        assert {name: summary[weights][size][name] for name in expected} == pytest.approx(expected)
    assert summary["last"]["working"] == pytest.approx(reports[-1].scores)
    best = max(reports, key=lambda report: report.scores["dice_volume"])
    assert summary["best"]["step"] == best.step


def test_kept_probabilities_of_every_class_give_the_counts(trained, class_folder, class_data):
    _, folder = trained
    table = pd.read_parquet(folder / "images.parquet").query("weights == 'best' and size == 'original'")
    for stem, expected in zip(table["stem"], from_columns(table, 4), strict=True):
        probability = np.load(folder / f"probabilities/{stem}.npy")
        assert probability.shape == (4, 80, 96) and probability.dtype == np.float16
        assert np.allclose(probability.astype(float).sum(0), 1, atol=3e-3)
        truth = read_mask(class_folder / f"train/ground_truth/{stem}.png", class_data.task)
        # Half precision may turn the order of two classes.
        assert np.abs(count(probability.argmax(0), truth, 4) - expected).sum() <= 0.01 * truth.size


def test_the_best_weights_rebuild_the_network_and_its_score(trained, class_data, class_folds):
    reports, folder = trained
    network, config, state = checkpoint.load_network(folder / "best.pt")
    assert state["classes"] == ["background", "ring", "core", "crescent"]
    assert network.classes == 4 and network.mean.shape == network.std.shape == (1,)
    held_out = class_data.indices(class_folds.held_out(0))
    result = evaluate(network, class_data, held_out, config, CPU, autocast_for(config, CPU))
    volumes = [class_data.volumes[class_data.stems[k]] for k in held_out]
    assert scores(result.counts, class_data.task, volumes)["dice_volume"] == pytest.approx(state["score"])
    assert state["metric"] == "dice_volume"
    assert state["score"] == max(report.scores["dice_volume"] for report in reports)


def without_seconds(report):
    return {key: value for key, value in report.as_dict().items() if key != "seconds"}


def test_an_interrupted_fold_ends_with_the_same_bits(trained, class_data, class_folds, tmp_path):
    reports, folder = trained
    first = train(class_data, class_folds, tmp_path, metric="dice_volume", options={"until": 3}, **HARD)
    second = train(class_data, class_folds, tmp_path, metric="dice_volume", **HARD)
    assert [without_seconds(r) for r in [*first, *second[1:]]] == [without_seconds(r) for r in reports]
    one, other = (checkpoint.load(each / "last.pt") for each in (tmp_path, folder))
    assert all(torch.equal(one["weights"][name], tensor) for name, tensor in other["weights"].items())
    pd.testing.assert_frame_equal(*(pd.read_parquet(each / "images.parquet") for each in (tmp_path, folder)))


def test_training_learns_every_class(class_folder, small_cache, class_folds, tmp_path):
    """By margins that no processor's rounding decides."""
    data = open_data(class_folder, (64, 64), cache=small_cache)
    quick = {"learning_rate": 1e-2, "ema": 0.9, "augmentation": "none"}
    first, *_, last = train(data, class_folds, tmp_path, steps=60, evaluations=4, **quick)
    assert last.loss < first.loss - 0.2
    for name in ("dice_ring", "dice_core", "dice_crescent", "dice_volume"):
        assert last.scores[name] > 0.25, (name, last.scores)


def test_a_metric_of_volumes_needs_volumes(small_data, small_folds, tmp_path):
    with pytest.raises(UserError, match=r"metric 'dice_volume': the data set has no volumes\.csv"):
        train(small_data, small_folds, tmp_path, metric="dice_volume")


@pytest.mark.parametrize("weights", ["1,3", "1,3,3", "1,2,3,4,5"])
def test_a_number_of_weights_other_than_that_of_the_classes_is_refused(class_data, class_folds, tmp_path, weights):
    count = weights.count(",") + 1
    with pytest.raises(UserError, match=f"class_weights: {count} weights for 4 classes .background, ring, core, cresc"):
        train(class_data, class_folds, tmp_path, class_weights=weights)


def test_weights_of_classes_are_used(class_data, class_folds, tmp_path):
    losses = {
        weights: train(class_data, class_folds, tmp_path / str(k), steps=1, class_weights=weights)[0].loss
        for k, weights in enumerate([None, "1,3,3,3", "1,3,3,30"])
    }
    assert losses[None] == losses["1,3,3,3"] < losses["1,3,3,30"]


@pytest.fixture
def folder(class_folder, tmp_path):
    return shutil.copytree(class_folder, tmp_path / "data")


def test_ignored_pixels_are_in_no_count_and_images_without_a_mask_in_no_table(folder, tmp_path):
    from PIL import Image

    (folder / "dataset.yaml").write_text((folder / "dataset.yaml").read_text() + "ignore_label: 255\n")
    masks = folder / "train/ground_truth"
    for path in masks.iterdir():
        mask = np.array(Image.open(path))
        mask[:, :48] = 255
        Image.fromarray(mask).save(path)
    data = open_data(folder, cache=tmp_path / "cache")
    folds = folds_of(data, 3, 0)
    gone = folds.held_out(0)[0], folds.training(0)[0]
    for stem in gone:
        (masks / f"{stem}.png").unlink()
    data = open_data(folder, cache=tmp_path / "cache")
    trial = FoldTrial(small_config(), data, folds, 0, CPU)
    assert len(trial.training) == 15 and gone[1] not in {data.stems[k] for k in trial.training}
    (report,) = train(data, folds, tmp_path / "out", steps=1)
    assert math.isfinite(report.loss) and math.isfinite(report.validation_loss)
    table = pd.read_parquet(tmp_path / "out/images.parquet")
    assert gone[0] not in set(table["stem"])
    for size, pixels in (("working", 48 * 64), ("original", 48 * 80)):
        assert (from_columns(table[table["size"] == size], 4).sum(axis=(1, 2)) == pixels).all()


def test_a_fold_without_a_mask_to_score_on_is_refused(folder, class_folds, tmp_path):
    for stem in class_folds.held_out(0):
        (folder / f"train/ground_truth/{stem}.png").unlink()
    data = open_data(folder, cache=tmp_path / "cache")
    with pytest.raises(UserError, match="fold 0: none of its 8 images held out to score on is labelled"):
        train(data, class_folds, tmp_path / "out")


def test_counts_at_both_sizes_are_those_of_the_predicted_classes(class_data, class_folds, class_folder):
    """Against a direct computation from the network's probabilities."""
    trial = FoldTrial(small_config(), class_data, class_folds, 0, CPU)
    found = evaluate(trial.network, class_data, trial.held_out, trial.config, CPU, trial.autocast)
    with torch.inference_mode():
        labels = torch.from_numpy(class_data.labels[trial.held_out])
        logits = trial.network.eval()(torch.from_numpy(class_data.images[trial.held_out]), labels >> 4)
    predicted = logits.argmax(1).numpy()
    expected = [count(p, t, 4) for p, t in zip(predicted, (labels & 15).numpy(), strict=True)]
    assert np.array_equal(found.counts, expected)
    for index, probability, truth in original_probabilities(
        trial.network, class_data, trial.held_out[:2], 2, CPU, trial.autocast
    ):
        assert probability.shape == (4, 80, 96)
        path = class_folder / f"train/ground_truth/{class_data.stems[index]}.png"
        assert np.array_equal(truth, read_mask(path, class_data.task)) and IGNORED not in truth
