"""Tuning a network on the scribbles of an image: what changes, what is frozen, what it sees."""

import numpy as np
import pytest
import torch
from tiny_networks import tiny_network

from trainable.config import make_image_config
from trainable.data.dataset import UNLABELLED
from trainable.errors import UserError
from trainable.images.method import ScribbledImage
from trainable.images.methods import finetune
from trainable.images.methods.finetune import Finetune
from trainable.images.pretrained.network import PretrainedNetwork
from trainable.networks.registry import build_network

CPU = torch.device("cpu")


def network(architecture="unet", inputs="image+scribble"):
    torch.manual_seed(0)
    built = build_network(tiny_network(architecture, inputs=inputs), [100.0] * 3, [50.0] * 3, 0, 2)
    return PretrainedNetwork(built.eval(), (40, 32), CPU)


def method(start, **values):
    shared = {"method": "finetune", "features": "fold", "features_from": "some/run", "tuning_steps": 3}
    return Finetune(make_image_config(shared | {"tuning_rate": 1e-2} | values), start)


def scene():
    pixels = np.random.default_rng(0).integers(0, 60, (32, 40, 3)).astype(np.uint8)
    pixels[:, 20:] += 150
    scribble = np.full((32, 40), UNLABELLED, np.uint8)
    scribble[4:28, 3:6], scribble[4:28, 33:36] = 0, 1
    return ScribbledImage(pixels, scribble, None, 5)


def test_a_network_learns_the_scribbles_of_the_image_and_stays_as_it_was_for_the_next():
    start, image = network(inputs="image"), scene()
    before = {name: each.clone() for name, each in start.network.state_dict().items()}
    (tuned,), (untouched,) = (method(start, tuning_steps=steps).segment([image], 2, CPU) for steps in (25, 1))
    known = image.scribble != UNLABELLED
    right = [((found[1] > 0.5) == (image.scribble == 1))[known].mean() for found in (tuned, untouched)]
    assert right[0] > 0.9 and right[1] < 0.7
    assert all(torch.equal(each, before[name]) for name, each in start.network.state_dict().items())


@pytest.mark.parametrize(
    ("frozen", "parts"),
    [
        ("none", {"encoder", "decoder", "segmentation_head"}),
        ("encoder", {"decoder", "segmentation_head"}),
        ("all_but_head", {"segmentation_head"}),
    ],
)
def test_frozen_parameters_are_not_tuned(frozen, parts):
    start = network().network
    tuned = {id(each) for each in finetune.tuned_parameters(start, frozen)}
    assert {name.split(".")[1] for name, each in start.named_parameters() if id(each) in tuned} == parts
    assert all(each.requires_grad == (id(each) in tuned) for each in start.parameters())


def test_a_share_of_the_scribbles_is_hidden_from_a_network_that_sees_them():
    codes = torch.ones(1, 32, 40, dtype=torch.uint8)
    shares = {
        hidden: [
            float(each.float().mean())
            for each in method(network(), hidden_scribbles=hidden, tuning_steps=20)._shown(codes, 1)
        ]
        for hidden in (0, 0.5, 1)
    }
    assert set(shares[0]) == {1.0} and set(shares[1]) == {0.0}
    assert 0.4 < np.mean(shares[0.5]) < 0.6 and len(set(shares[0.5])) > 5, "always the same scribbles are hidden"
    assert all(each is codes for each in method(network(inputs="image"))._shown(codes, 1))


@pytest.mark.parametrize("architecture", ["sam", "mask-rcnn"])
def test_a_network_without_logits_per_pixel_is_refused(architecture):
    with pytest.raises(UserError, match=r"features_from = some/run has no layer .*; choose another config of the run"):
        method(network(architecture))
