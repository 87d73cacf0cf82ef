"""Training at sites is training on the whole image, many networks at once."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainable.config.images.small_network_fields import SmallNetworkFields
from trainable.data.dataset import UNLABELLED
from trainable.images.method import ScribbledImage
from trainable.images.small_networks.network_inputs import sample_scribbles, window_inputs
from trainable.images.small_networks.site_training import convolutions, train_at_sites


class Settings(SmallNetworkFields):
    inputs: str = "colour+xy"


def scribbled(height, width, seed, classes=2):
    rng = np.random.default_rng(seed)
    scribble = rng.choice([*range(classes), UNLABELLED], (height, width), p=[*classes * [0.1], 1 - 0.1 * classes])
    scribble[0, 0], scribble[-1, -1] = 0, 1  # corners, whose patches reach beyond the image
    return ScribbledImage(rng.integers(0, 256, (height, width, 3), np.uint8), scribble.astype(np.uint8), None, seed)


def train_whole_image(network, image, config):
    """An ordinary loop: the whole image forwards and backwards in every iteration."""
    height, width = image.scribble.shape
    inputs = window_inputs(image, config.inputs, range(height), range(width))[None].requires_grad_()
    labels = torch.from_numpy(image.scribble.astype(np.int64))[None]
    part = slice(0, 3) if config.penalised == "colour" else slice(3, 5)
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
    for _ in range(config.iterations):
        loss = F.cross_entropy(network(inputs), labels, ignore_index=UNLABELLED)
        (slopes,) = torch.autograd.grad(loss, inputs, create_graph=True)
        optimizer.zero_grad()
        (loss + 1e-7 * config.beta * slopes[:, part].abs().sum()).backward()
        optimizer.step()


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": 1},
        {"kernel": 3},
        {"kernel": 5, "depth": 1},
        {"kernel": 3, "depth": 3},
        {"kernel": 1, "beta": 3e6},
        {"kernel": 3, "beta": 3e6},
        {"kernel": 3, "beta": 3e6, "penalised": "colour"},
    ],
    ids=str,
)
def test_networks_trained_at_once_are_those_of_an_ordinary_loop_per_image(settings):
    config = Settings(width=4, iterations=5, learning_rate=0.02, **settings)
    images = [scribbled(12, 17, 1), scribbled(15, 9, 2), scribbled(5, 30, 3)]
    torch.manual_seed(0)
    expected = [convolutions(5, 2, config.depth, config.width, config.kernel) for _ in images]
    networks = copy.deepcopy(expected)
    before = copy.deepcopy(expected)
    train_at_sites(networks, images, 2, torch.device("cpu"), config)
    for image, network, ordinary, initial in zip(images, networks, expected, before, strict=True):
        train_whole_image(ordinary, image, config)
        for got, wanted, start in zip(network.parameters(), ordinary.parameters(), initial.parameters(), strict=True):
            assert (wanted - start).abs().max() > 1e-3
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=2e-4)


def test_of_many_scribbled_pixels_a_share_of_each_class_is_kept():
    scribble = np.full((40, 40), UNLABELLED, np.uint8)
    scribble[:20] = 0  # 800 pixels
    scribble[30:35] = 1  # 200
    scribble[39, 39] = 2  # 1
    image = ScribbledImage(np.zeros((40, 40, 3), np.uint8), scribble, None, 0)
    sample = sample_scribbles(image, 100)
    assert [(sample.labels == label).sum() for label in (0, 1, 2)] == [79, 19, 1]  # 100 * 800 // 1001, ...
    assert (scribble[tuple(sample.positions.T)] == sample.labels).all()
    weights = [sample.weights[sample.labels == label].sum() for label in (0, 1, 2)]
    np.testing.assert_allclose(weights, [800 / 1001, 200 / 1001, 1 / 1001], rtol=1e-5)
    assert len(sample_scribbles(image, 1001).labels) == 1001
