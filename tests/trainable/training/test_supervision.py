"""Learning from scribbles alone never reads a training mask, and works for data without any mask."""

import json
import math
import shutil
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL_SIZE, small_config
from PIL import Image

from trainable.data.decoded_images import open_data
from trainable.data.folds import folds_of
from trainable.data.packed_labels import unpack
from trainable.data.reading import read_scribble
from trainable.errors import UserError
from trainable.objectives.metrics import count, from_columns, metrics_of, scores
from trainable.training import checkpoint
from trainable.training.evaluate import original_probabilities
from trainable.training.fold import train_fold
from trainable.training.trial import FoldTrial

pytestmark = pytest.mark.usefixtures("narrow_decoders")

CPU = torch.device("cpu")
BY_SCRIBBLES = {"supervision": "scribbles", "augmentation": "high", "steps": 3, "evaluations": 1}
INPUTS = ("image+scribble", "image")


def noise(path, rng):
    shape = np.asarray(Image.open(path)).shape
    classes = 4 if "volume" in path.name else 2
    Image.fromarray(rng.integers(0, classes, shape).astype(np.uint8)).save(path)


def altered(source, home, folds, how):
    """A copy of a data set whose training masks of fold 0 are noise or gone; held-out masks stay."""
    folder = shutil.copytree(source, home / "data")
    rng = np.random.default_rng(0)
    for stem in folds.training(0):
        path = folder / f"train/ground_truth/{stem}.png"
        if how == "noise":
            noise(path, rng)
        else:
            path.unlink()
    return open_data(folder, SMALL_SIZE, cache=home / "cache")


def weights_after_training(data, folds, folder, **values):
    reports = list(train_fold(small_config(**values), data, folds, 0, folder))
    state = checkpoint.load(folder / "last.pt")
    return [(report.loss, report.scores) for report in reports], state["weights"]


@pytest.fixture(scope="module")
def untouched(class_data, class_folds, tmp_path_factory):
    """Reports and weights of training with the true masks in their place."""
    return {
        inputs: weights_after_training(
            class_data, class_folds, tmp_path_factory.mktemp("untouched"), **BY_SCRIBBLES, inputs=inputs
        )
        for inputs in INPUTS
    }


@pytest.mark.parametrize("how", ["noise", "gone"])
@pytest.mark.parametrize("inputs", INPUTS)
def test_training_masks_are_never_read(class_folder, class_data, class_folds, untouched, tmp_path, how, inputs):
    other = altered(class_folder, tmp_path, class_folds, how)
    assert other.hash != class_data.hash and other.scored_on == "masks"
    reports, weights = untouched[inputs]
    others, changed = weights_after_training(other, class_folds, tmp_path / "other", **BY_SCRIBBLES, inputs=inputs)
    assert all(torch.equal(changed[name], tensor) for name, tensor in weights.items())
    assert others == reports, "held-out images are still scored by their masks"


def test_training_masks_of_two_classes_are_never_read(small_folder, small_data, small_folds, tmp_path):
    other = altered(small_folder, tmp_path, small_folds, "noise")
    one, changed = (
        weights_after_training(data, small_folds, tmp_path / name, **BY_SCRIBBLES)
        for name, data in (("one", small_data), ("other", other))
    )
    assert all(torch.equal(changed[1][name], tensor) for name, tensor in one[1].items()) and changed[0] == one[0]


def test_noise_in_training_masks_would_be_noticed(class_folder, class_data, class_folds, tmp_path):
    """The same comparison with supervision by masks."""
    other = altered(class_folder, tmp_path, class_folds, "noise")
    by_masks = {**BY_SCRIBBLES, "supervision": "masks"}
    weights, changed = (
        weights_after_training(data, class_folds, tmp_path / name, **by_masks)[1]
        for name, data in (("one", class_data), ("other", other))
    )
    assert not all(torch.equal(changed[name], tensor) for name, tensor in weights.items())


@pytest.fixture(scope="module")
def unmasked(class_folder, tmp_path_factory):
    """The data set without any mask."""
    folder = shutil.copytree(class_folder, tmp_path_factory.mktemp("unmasked") / "data")
    shutil.rmtree(folder / "train/ground_truth")
    return open_data(folder, SMALL_SIZE, cache=folder.parent / "cache")


def test_without_any_mask_a_fold_is_trained_and_scored_on_scribbled_pixels(unmasked, tmp_path):
    folds = folds_of(unmasked, 3, 0)
    config = small_config(**BY_SCRIBBLES, inputs="image")
    reports = list(train_fold(config, unmasked, folds, 0, tmp_path, metric="dice_volume"))
    assert set(reports[-1].scores) == set(metrics_of(unmasked.task, volumes=True))
    assert all(math.isfinite(report.validation_loss) for report in reports)
    table = pd.read_parquet(tmp_path / "images.parquet").query("weights == 'best'")
    network, config, _ = checkpoint.load_network(tmp_path / "best.pt")
    held_out = unmasked.indices(folds.held_out(0))
    working, original = [], []
    with torch.inference_mode():
        for index in held_out:
            scribble, _ = unpack(unmasked.labels[index])
            logits = network(torch.from_numpy(unmasked.images[[index]]), torch.from_numpy(scribble[None]))
            drawn = scribble > 0
            working.append(count(logits[0].argmax(0).numpy()[drawn], scribble[drawn] - 1, 4))
            scribble = read_scribble(unmasked.split.scribbles[unmasked.stems[index]], unmasked.task)
            (probability,) = [
                found
                for _, found, _ in original_probabilities(network, unmasked, np.array([index]), 1, CPU, nullcontext)
            ]
            drawn = scribble != 255
            original.append(count(probability.argmax(0)[drawn], scribble[drawn], 4))
    summary = json.loads((tmp_path / "scores.json").read_text())["best"]
    volumes = [unmasked.volumes[unmasked.stems[index]] for index in held_out]
    for size, counts in (("working", np.stack(working)), ("original", np.stack(original))):
        rows = table[table["size"] == size]
        assert np.abs(from_columns(rows, 4) - counts).sum() <= 2, "but for rounding in batches of other sizes"
        assert summary[size] == pytest.approx(scores(counts, unmasked.task, volumes), abs=0.02)
        assert 0 < counts.sum() < 8 * 64 * 32 / 4


def test_two_classes_without_any_mask_are_scored_on_scribbled_pixels(small_folder, tmp_path):
    folder = shutil.copytree(small_folder, tmp_path / "data")
    shutil.rmtree(folder / "train/ground_truth")
    (folder / "dataset.yaml").write_text("classes: [background, foreground]\n")
    data = open_data(folder, SMALL_SIZE, cache=tmp_path / "cache")
    folds = folds_of(data, 4, 0)
    list(train_fold(small_config(**BY_SCRIBBLES), data, folds, 0, tmp_path / "out"))
    table = pd.read_parquet(tmp_path / "out/images.parquet").query("size == 'original' and weights == 'last'")
    for stem, counts in zip(table["stem"], from_columns(table, 2), strict=True):
        scribble = read_scribble(data.split.scribbles[stem], data.task)
        assert counts.sum(axis=1).tolist() == [(scribble == 0).sum(), (scribble == 1).sum()]


@pytest.mark.parametrize(
    ("missing", "values", "message"),
    [
        ("ground_truth", {}, "supervision = masks: .*/train has no ground_truth/; use supervision=scribbles"),
        ("scribbles", {"supervision": "scribbles", "inputs": "image"}, "has no scribbles/; use supervision=masks"),
        ("scribbles", {}, "inputs = image.scribble: .*/train has no scribbles/; use inputs=image"),
    ],
)
def test_what_the_labels_do_not_allow_is_refused_in_one_line(class_folder, tmp_path, missing, values, message):
    folder = shutil.copytree(class_folder, tmp_path / "data")
    shutil.rmtree(folder / "train" / missing)
    data = open_data(folder, SMALL_SIZE, cache=tmp_path / "cache")
    with pytest.raises(UserError, match=message) as error:
        list(train_fold(small_config(**values), data, folds_of(data, 3, 0), 0, tmp_path / "out"))
    assert "\n" not in str(error.value)


def test_everything_that_the_labels_do_not_allow_is_listed(class_folder, tmp_path):
    folder = shutil.copytree(class_folder, tmp_path / "data")
    shutil.rmtree(folder / "train/scribbles")
    data = open_data(folder, SMALL_SIZE, cache=tmp_path / "cache")
    config = small_config(supervision="scribbles", class_weights="1,2")
    with pytest.raises(UserError, match=r"supervision = .*; inputs = .*; class_weights: 2 weights for 4 classes"):
        FoldTrial(config, data, folds_of(data, 3, 0), 0, CPU)


def test_images_without_scribbles_are_not_trained_on_but_scored(class_folder, class_folds, tmp_path):
    folder = shutil.copytree(class_folder, tmp_path / "data")
    gone = [class_folds.training(0)[0], class_folds.held_out(0)[0]]
    for stem in gone:
        (folder / f"train/scribbles/{stem}.png").unlink()
    data = open_data(folder, SMALL_SIZE, cache=tmp_path / "cache")
    trial = FoldTrial(small_config(**BY_SCRIBBLES), data, class_folds, 0, CPU)
    assert len(trial.training) == 15 and len(trial.held_out) == 8
    assert not set(data.indices(gone[:1])) & set(trial.training)
    reports = list(train_fold(small_config(**BY_SCRIBBLES), data, class_folds, 0, tmp_path / "out"))
    assert all(math.isfinite(report.validation_loss) for report in reports)


def test_a_network_of_images_alone_learns_from_scribbles(class_folder, small_cache, class_folds, tmp_path):
    data = open_data(class_folder, (64, 64), cache=small_cache)
    values = {"supervision": "scribbles", "inputs": "image", "augmentation": "none", "ema": 0.9, "learning_rate": 1e-2}
    config = small_config(**values, steps=60, evaluations=4)
    first, *_, last = train_fold(config, data, class_folds, 0, tmp_path)
    assert last.loss < first.loss / 1.5
    assert last.scores["dice"] > 0.25, last.scores


WEIGHTED = {**BY_SCRIBBLES, "objective": "wpce", "inputs": "image"}


def test_class_weights_come_from_the_scribbles_of_the_training_images(class_data, class_folds, tmp_path):
    trial = FoldTrial(small_config(**WEIGHTED), class_data, class_folds, 0, CPU)
    scribbles = np.concatenate([unpack(class_data.labels[index])[0].ravel() for index in trial.training])
    pixels = np.array([(scribbles == code).sum() for code in (1, 2, 3, 4)])
    assert np.multiply(trial.class_weights, pixels).round(6).tolist() == pytest.approx(
        [len(pixels) / (1 / pixels).sum()] * 4
    )
    assert np.mean(trial.class_weights) == pytest.approx(1)
    other = FoldTrial(small_config(**WEIGHTED), class_data, class_folds, 1, CPU)
    assert other.class_weights != trial.class_weights, "the folds have other training images"
    # The weights are those of class_weights, in training and in validation.
    losses = [
        [
            (report.loss, report.validation_loss)
            for report in train_fold(config, class_data, class_folds, 0, tmp_path / name)
        ]
        for name, config in (
            ("frequencies", small_config(**WEIGHTED)),
            ("stated", small_config(**{**WEIGHTED, "objective": "pce"}, class_weights=trial.class_weights)),
        )
    ]
    assert losses[0] == losses[1]


def without_scribbles(folder, stems, *classes):
    """Remove the scribbles of these classes from these images."""
    for stem in stems:
        path = folder / f"train/scribbles/{stem}.png"
        labels = np.array(Image.open(path))
        labels[np.isin(labels, classes)] = 255
        Image.fromarray(labels).save(path)


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"objective": "wpce"}, [2]),
        ({"objective": "wpce", "border": 0.2}, [0]),
        ({}, [2]),
        ({}, [0, 1, 2, 3]),
        ({"border": 0.2}, [0, 2]),
    ],
)
def test_a_class_without_a_scribble_in_the_training_images_cannot_be_learnt(
    class_folder, class_folds, tmp_path, values, missing
):
    folder = shutil.copytree(class_folder, tmp_path / "data")
    without_scribbles(folder, class_folds.training(0), *missing)
    data = open_data(folder, SMALL_SIZE, cache=tmp_path / "cache")
    config = small_config(**BY_SCRIBBLES, **values, inputs="image")
    expected = [each for each in missing if not (each == 0 and values.get("border") and len(values) == 1)]
    names = ", ".join(data.task.classes[each] for each in expected)
    rule = f"^supervision = scribbles: none of the 16 training images of fold 0 has a scribble of {names}, which .*seed"
    with pytest.raises(UserError, match=rule) as error:
        FoldTrial(config, data, class_folds, 0, CPU)
    assert "\n" not in str(error.value)
    if len(missing) < 4:
        FoldTrial(config, data, class_folds, 1, CPU)


def test_a_border_replaces_scribbles_of_the_first_class(class_folder, class_folds, tmp_path):
    folder = shutil.copytree(class_folder, tmp_path / "data")
    without_scribbles(folder, class_folds.training(0), 0)
    data = open_data(folder, SMALL_SIZE, cache=tmp_path / "cache")
    FoldTrial(small_config(**BY_SCRIBBLES, inputs="image", border=0.2), data, class_folds, 0, CPU)


TERMS = {"lambda_crf": 0.1, "crf_radius": 2, "lambda_entropy": 0.1, "lambda_tv": 0.1, "lambda_ms": 1.0}


@pytest.mark.parametrize("term", [name for name in TERMS if name != "crf_radius"])
def test_each_term_is_part_of_the_training_and_of_the_validation_loss(small_data, small_folds, tmp_path, term):
    plain, regularised = (
        list(
            train_fold(
                small_config(supervision="scribbles", steps=1, evaluations=1, ema=0, **values),
                small_data,
                small_folds,
                0,
                tmp_path / name,
            )
        )[-1]
        for name, values in (("plain", {}), ("regularised", {term: TERMS[term]}))
    )
    assert regularised.loss > plain.loss and regularised.validation_loss > plain.validation_loss


def test_masks_are_not_read_by_the_terms_for_pixels_without_scribbles(class_folder, class_data, class_folds, tmp_path):
    other = altered(class_folder, tmp_path, class_folds, "noise")
    one, changed = (
        weights_after_training(data, class_folds, tmp_path / name, **WEIGHTED, **TERMS)
        for name, data in (("one", class_data), ("other", other))
    )
    assert all(torch.equal(changed[1][name], tensor) for name, tensor in one[1].items()) and changed[0] == one[0]


def test_the_border_counts_as_the_first_class_in_training_batches(class_data, class_folds):
    plain, bordered = (
        FoldTrial(
            small_config(supervision="scribbles", inputs="image", augmentation="none", border=border),
            class_data,
            class_folds,
            0,
            CPU,
        )
        for border in (0, 0.2)
    )
    (images, before), (same, after) = plain.stream[0], bordered.stream[0]
    assert torch.equal(images, same)
    added = (before != after) & (before == 0)
    assert added.any() and (after[added] >> 4 == 1).all() and int((before != after).sum()) == int(added.sum())
    height, width = before.shape[1:]
    assert not added[:, height // 4 : -height // 4, width // 4 : -width // 4].any()


def test_a_border_needs_inputs_without_scribbles():
    with pytest.raises(UserError, match=r"^border: belongs to inputs = image; here inputs is image\+scribble"):
        small_config(**BY_SCRIBBLES, border=0.1)
