"""A training step never waits for its device. On torch's ``meta`` device, tensors have shapes and no values: reading a
value is an error there, and so is mixing tensors of two devices."""

import pytest
import torch
from conftest import small_config

from trainable.training import trial
from trainable.training.trial import FoldTrial


@pytest.fixture
def elsewhere(small_data, small_folds):
    """A fold trial on a device that is not the host's."""

    def make(**values):
        found = FoldTrial(small_config(precision="float32", **values), small_data, small_folds, 0, torch.device("meta"))
        for group in found.optimizer.param_groups:
            group.update(fused=False, foreach=True)  # the fused kernel wants a device that can calculate
        return found

    return make


CONFIGS = [
    {},
    {"loss": "dice"},
    {"ema": 0.0},
    {"gradient_clip": 0.0},
    {"attention": "scse"},
    {"encoder": "efficientnet-b2", "dropout": 0.5},
]


@pytest.mark.parametrize("values", CONFIGS, ids=str)
def test_a_step_is_taken_without_asking_the_device_for_a_number(elsewhere, values):
    found = elsewhere(**values)
    for step in range(2):
        found.train_step(*found.stream[step])
    assert found.step == 2
    assert [loss.device.type for loss in found._losses] == ["meta", "meta"]


def test_a_loss_that_looks_at_its_value_would_be_noticed(elsewhere, monkeypatch):
    real = trial.segmentation_loss
    monkeypatch.setattr(trial, "segmentation_loss", lambda *given: real(*given) * (1 if real(*given) > 0 else 2))
    found = elsewhere()
    with pytest.raises(RuntimeError, match="meta"):
        found.train_step(*found.stream[0])


def test_a_tensor_left_on_the_host_would_be_noticed(elsewhere, monkeypatch):
    real = trial.segmentation_loss
    monkeypatch.setattr(trial, "segmentation_loss", lambda *given: real(*given) * torch.ones(1, device="cpu"))
    found = elsewhere()
    with pytest.raises(RuntimeError, match="device"):
        found.train_step(*found.stream[0])


def test_only_a_report_waits_for_the_device(elsewhere):
    found = elsewhere()
    found.train_step(*found.stream[0])
    with pytest.raises(NotImplementedError, match="meta"):
        found.evaluate()
