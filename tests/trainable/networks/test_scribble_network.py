"""Channels in and out of the network for several classes, for images alone, and for grey images."""

import numpy as np
import pytest
import torch
from conftest import small_config
from torch import nn

from trainable.networks.registry import build_network
from trainable.networks.scribble_network import Channels, channels_of, probabilities_of

RGB, GREY = ([120.0, 110.0, 100.0], [60.0, 61.0, 62.0]), ([120.0], [60.0])
GENERATOR = torch.Generator().manual_seed(0)
SCRIBBLES = [torch.randint(0, 5, (2, 64, 96), dtype=torch.uint8, generator=GENERATOR) for _ in range(2)]


def images(channels):
    return torch.randint(0, 256, (2, 64, 96, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def logits(network, image, scribble):
    with torch.inference_mode():
        return network.eval()(image, scribble)


@pytest.mark.parametrize(
    ("inputs", "channels", "classes", "expected"),
    [
        ("image+scribble", 3, 2, Channels(4, 1)),
        ("image+scribble", 1, 2, Channels(2, 1)),
        ("image", 3, 2, Channels(3, 1)),
        ("image+scribble", 3, 4, Channels(7, 4)),
        ("image", 1, 4, Channels(1, 4)),
        ("image+scribble", 1, 15, Channels(16, 15)),
    ],
)
def test_channels_follow_from_image_scribbles_and_classes(inputs, channels, classes, expected):
    assert channels_of(inputs, channels, classes) == expected
    config = small_config(inputs=inputs)
    network = build_network(config, [100.0] * channels, [50.0] * channels, seed=0, classes=classes)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert first.in_channels == expected.inputs
    assert logits(network, images(channels), SCRIBBLES[0]).shape == (2, expected.outputs, 64, 96)


@pytest.mark.parametrize(("classes", "statistics"), [(2, RGB), (4, RGB), (4, GREY)])
def test_a_network_of_images_alone_does_not_react_to_scribbles(classes, statistics):
    image = images(len(statistics[0]))
    one, other = (scribble.clamp(max=classes) for scribble in SCRIBBLES)
    for inputs, same in (("image", True), ("image+scribble", False)):
        network = build_network(small_config(inputs=inputs), *statistics, seed=0, classes=classes)
        assert torch.equal(logits(network, image, one), logits(network, image, other)) == same


def seen_by_the_core(network, image, scribble):
    network.stride = 1
    return network.channels(image, scribble)


def test_the_core_sees_one_channel_per_class_that_may_be_scribbled():
    network = build_network(small_config(), *RGB, seed=0, classes=4)
    image = torch.tensor([120, 171, 38], dtype=torch.uint8).expand(1, 2, 3, 3).contiguous()
    channels = seen_by_the_core(network, image, torch.tensor([[[0, 2, 1], [4, 3, 2]]], dtype=torch.uint8))
    assert channels.shape == (1, 7, 2, 3) and channels.is_contiguous(memory_format=torch.channels_last)
    assert channels[0, :3, 1, 2].tolist() == pytest.approx([0, 1, -1])
    assert channels[0, 3:].tolist() == [
        [[0, 0, 1], [0, 0, 0]],
        [[0, 1, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 1, 0]],
        [[0, 0, 0], [1, 0, 0]],
    ]


def test_the_core_sees_one_normalised_channel_of_a_grey_image():
    network = build_network(small_config(inputs="image"), *GREY, seed=0, classes=4)
    image = torch.tensor([[[[60], [120], [180]]]], dtype=torch.uint8)
    assert seen_by_the_core(network, image, torch.zeros(1, 1, 3, dtype=torch.uint8)).tolist() == [[[[-1, 0, 1]]]]


def test_probabilities_are_of_the_foreground_or_of_each_class():
    one, several = torch.randn(2, 1, 3, 4).bfloat16(), torch.randn(2, 5, 3, 4).bfloat16()
    assert torch.equal(probabilities_of(one), one.float().sigmoid())
    found = probabilities_of(several)
    assert found.dtype == torch.float32 and found.shape == several.shape
    torch.testing.assert_close(found.sum(1), torch.ones(2, 3, 4))
    torch.testing.assert_close(found, several.float().softmax(1))


@pytest.mark.parametrize("size", [(50, 75), (64, 75), (33, 64), (20, 7), (1, 5)], ids=str)
def test_any_size_is_padded_by_reflection_and_cropped_back(size):
    network = build_network(small_config(), *RGB, seed=0)
    rng = np.random.default_rng(0)
    image, scribble = rng.integers(0, 256, (1, *size, 3), dtype=np.uint8), rng.integers(0, 3, (1, *size), np.uint8)
    before, after = zip(*(((-side % 32) // 2, -side % 32 - (-side % 32) // 2) for side in size), strict=True)
    sides = [(0, 0), *zip(before, after, strict=True)]
    padded = [torch.from_numpy(np.pad(each, [*sides, (0, 0)][: each.ndim], "reflect")) for each in (image, scribble)]
    whole = network.channels(*padded)
    found = network.channels(torch.from_numpy(image), torch.from_numpy(scribble))
    assert torch.equal(found, whole) and found.is_contiguous(memory_format=torch.channels_last)
    expected = logits(network, *padded)[..., before[0] : before[0] + size[0], before[1] : before[1] + size[1]]
    assert torch.equal(logits(network, torch.from_numpy(image), torch.from_numpy(scribble)), expected)


def test_a_size_that_is_a_multiple_of_the_stride_is_not_touched(monkeypatch):
    network = build_network(small_config(), *RGB, seed=0)
    image = images(3)
    expected = logits(network, image, SCRIBBLES[0].clamp(max=2))
    monkeypatch.setattr("trainable.networks.scribble_network._reflected", lambda *given: pytest.fail("was padded"))
    assert torch.equal(logits(network, image, SCRIBBLES[0].clamp(max=2)), expected)
