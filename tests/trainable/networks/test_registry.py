from dataclasses import replace

import pytest
import torch
from conftest import small_config
from torch import nn

from trainable.config import Config, make_config
from trainable.errors import UserError
from trainable.networks.registry import ARCHITECTURES, build_network
from trainable.training.trial import FoldTrial

MEAN, STD = [120.0, 110.0, 100.0], [60.0, 61.0, 62.0]


def test_the_default_network_is_the_recipes():
    network = build_network(Config(), MEAN, STD, seed=0)
    # 10.10 million parameters: the figure known for an EfficientNet-B2 U-Net with scSE and four channels.
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(10.10, abs=0.01)
    assert any(type(module).__name__ == "SCSEModule" for module in network.modules())
    (dropout,) = [m for m in network.core.segmentation_head.modules() if isinstance(m, nn.Dropout2d)]
    assert dropout.p == 0.2
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert first.in_channels == 4


@pytest.mark.parametrize(
    "encoder", ["resnet18", "mobilenetv3_large_100", "mobilenet_v2", "tu-mobilenetv3_small_050", "convnext_atto"]
)
def test_encoders_of_smp_and_of_timm_give_a_logit_per_pixel(encoder):
    network = build_network(small_config(encoder=encoder), MEAN, STD, seed=0).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(1, 64, 96, 3, dtype=torch.uint8), torch.zeros(1, 64, 96, dtype=torch.uint8))
    assert logits.shape == (1, 1, 64, 96)


@pytest.mark.parametrize(
    ("encoder", "suggestion"),
    [("efficientnetb2", "efficientnet-b2"), ("resnet81", "resnet18"), ("Resnet18", "resnet18")],
)
def test_an_unknown_encoder_is_an_error_with_suggestions(encoder, suggestion):
    with pytest.raises(UserError, match=f"unknown to smp and timm.*'{suggestion}'"):
        build_network(small_config(encoder=encoder), MEAN, STD)


def test_an_encoder_that_has_no_feature_maps_is_an_error(recwarn):
    with pytest.raises(UserError, match="cannot be the encoder of a unet"):
        build_network(small_config(encoder="mixer_b16_224"), MEAN, STD)


def test_weights_that_cannot_be_had_are_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"encoder_weights = 'imagenet'.*are not available here.*encoder_weights=none"):
        build_network(make_config({"encoder": "resnet18", "encoder_weights": "imagenet"}), MEAN, STD)


def test_initial_weights_depend_on_the_seed_alone_and_do_not_disturb_the_caller():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = build_network(small_config(), MEAN, STD, seed=1)
    assert torch.equal(torch.rand(1), expected)
    torch.rand(10)
    other = build_network(small_config(pc=1, loss="dice"), MEAN, STD, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    third = build_network(small_config(), MEAN, STD, seed=2)
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), third.parameters(), strict=True))


def test_the_core_sees_normalised_colours_and_signed_scribbles_in_channels_last():
    network = build_network(small_config(), MEAN, STD, seed=0)
    network.stride = 1
    image = torch.tensor([120, 171, 38], dtype=torch.uint8).expand(1, 2, 3, 3).contiguous()
    scribble = torch.tensor([[[0, 2, 1], [0, 0, 2]]], dtype=torch.uint8)
    channels = network.channels(image, scribble)
    assert channels.shape == (1, 4, 2, 3) and channels.is_contiguous(memory_format=torch.channels_last)
    assert channels[0, :3, 0, 0].tolist() == pytest.approx([0, 1, -1])
    assert channels[0, 3].tolist() == [[0, 1, -1], [0, 0, 1]]


def test_weights_are_kept_in_channels_last():
    network = build_network(small_config(), MEAN, STD, seed=0)
    kernels = [p for p in network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert kernels and all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


def test_every_architecture_a_configuration_may_name_exists():
    from typing import get_args

    assert set(get_args(Config.model_fields["architecture"].annotation)) == set(ARCHITECTURES)


def test_a_network_may_have_a_loss_of_its_own(small_data, small_folds, monkeypatch):
    """Its logits are then not asked for in training."""

    def loss(network, images, labels):
        (image, *_), first = network.channels(images, labels >> 4), next(network.parameters())
        return first.sum() + 0 * image.sum() + 7

    monkeypatch.setitem(ARCHITECTURES, "unet", replace(ARCHITECTURES["unet"], loss=loss))
    trial = FoldTrial(small_config(warmup_steps=0), small_data, small_folds, 0, torch.device("cpu"))
    first = next(trial.network.parameters())
    expected = float(first.detach().sum()) + 7
    trial.network.forward = lambda *given: pytest.fail("the logits were asked for")
    trial.train_step(*trial.stream[0])
    assert float(trial._losses[0]) == pytest.approx(expected, abs=1e-4)
    assert float(first.detach().sum()) + 7 < expected, "the step descends this loss"
