"""A training step never waits for its device. On torch's ``meta`` device, tensors have shapes and no values: reading a
value is an error there, and so is mixing tensors of two devices."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import tiny_network

from trainable.data.decoded_images import open_data
from trainable.training import trial
from trainable.training.trial import FoldTrial


@pytest.fixture
def elsewhere(small_data, small_folds):
    """A fold trial on a device that is not the host's, of the smallest network: its contract tests all of them."""

    def make(data=small_data, folds=small_folds, architecture="unet-plain", **values):
        found = FoldTrial(tiny_network(architecture, **values), data, folds, 0, torch.device("meta"))
        for group in found.optimizer.param_groups:
            group.update(fused=False, foreach=True)  # the fused kernel wants a device that can calculate
        return found

    return make


REGULARISED = {"lambda_crf": 0.1, "lambda_entropy": 0.1, "lambda_tv": 0.1, "lambda_ms": 0.1, "crf_radius": 2}
RECIPES = [
    {"supervision": "scribbles", "inputs": inputs, "recipe": recipe}
    for recipe in ("mixup", "cutmix", "mean_teacher", "dual_branch", "cyclemix")
    for inputs in ("image", "image+scribble")
]
RECIPES.append({**RECIPES[-1], "mix_transport": "blocks"})
CONFIGS = [
    {},
    {"loss": "dice"},
    {"ema": 0.0},
    {"gradient_clip": 0.0},
    {"architecture": "unet", "attention": "scse"},
    {"architecture": "unet", "encoder": "efficientnet-b2", "dropout": 0.5},
    {"supervision": "scribbles"},
    {"class_weights": "1,2"},
    {"loss": "tversky", "lambda_focal": 1.0},
    {"loss": "dice+bce"},
    {"supervision": "scribbles", "objective": "wpce", **REGULARISED},
    *RECIPES,
    {"recipe": "mean_teacher"},
    {"recipe": "dual_branch"},
]
OF_CLASSES = [
    {},
    {"loss": "tversky", "lambda_focal": 1.0},
    {"loss": "ce"},
    {"supervision": "scribbles", "objective": "wpce", **REGULARISED},
    {"loss": "dice", "class_weights": "1,2,3,4"},
    {"supervision": "scribbles"},
    {"supervision": "scribbles", "inputs": "image", "class_weights": "1,2,3,4"},
    {"supervision": "scribbles", "recipe": "cyclemix", "objective": "wpce", "occlusion": "unlabelled", **REGULARISED},
    *RECIPES,
]


@pytest.mark.parametrize("values", CONFIGS, ids=str)
def test_a_step_is_taken_without_asking_the_device_for_a_number(elsewhere, values):
    found = elsewhere(**values)
    for step in range(2):
        found.train_step(*found.stream[step])
    assert found.step == 2
    assert [loss.device.type for loss in found._losses] == ["meta", "meta"]


@pytest.mark.parametrize("values", OF_CLASSES, ids=str)
def test_a_step_of_several_classes_is_taken_without_asking_the_device_for_a_number(
    elsewhere, class_data, class_folds, values
):
    found = elsewhere(class_data, class_folds, **values)
    for step in range(2):
        found.train_step(*found.stream[step])
    assert [loss.device.type for loss in found._losses] == ["meta", "meta"]


@pytest.mark.parametrize("part", ["ground_truth", "dataset.yaml"])
def test_a_step_with_ignored_pixels_is_taken_without_asking_the_device_for_a_number(
    elsewhere, class_folder, class_folds, tmp_path, part
):
    """Of four classes, of which a mask is missing, and of two that ignore pixels."""
    folder = shutil.copytree(class_folder, tmp_path / "data")
    if part == "ground_truth":
        (folder / f"train/ground_truth/{class_folds.held_out(0)[0]}.png").unlink()
    else:
        (folder / part).write_text("classes: [background, foreground]\nignore_label: 255\n")
        for path in (*folder.glob("train/ground_truth/*"), *folder.glob("train/scribbles/*")):
            labels = np.array(Image.open(path))
            labels[(labels > 1) & (labels < 255)] = 1
            Image.fromarray(labels).save(path)
    data = open_data(folder, cache=tmp_path / "cache")
    assert data.ignoring
    found = elsewhere(data, class_folds)
    found.train_step(*found.stream[0])
    assert found._losses[0].device.type == "meta"


def test_a_loss_that_looks_at_its_value_would_be_noticed(elsewhere, monkeypatch):
    real = trial.training_loss
    monkeypatch.setattr(trial, "training_loss", lambda *given: real(*given) * (1 if real(*given) > 0 else 2))
    found = elsewhere()
    with pytest.raises(RuntimeError, match="meta"):
        found.train_step(*found.stream[0])


def test_a_tensor_left_on_the_host_would_be_noticed(elsewhere, monkeypatch):
    real = trial.training_loss
    monkeypatch.setattr(trial, "training_loss", lambda *given: real(*given) * torch.ones(1, device="cpu"))
    found = elsewhere()
    with pytest.raises(RuntimeError, match="device"):
        found.train_step(*found.stream[0])


def test_only_a_report_waits_for_the_device(elsewhere):
    found = elsewhere()
    found.train_step(*found.stream[0])
    with pytest.raises(NotImplementedError, match="meta"):
        found.evaluate()
