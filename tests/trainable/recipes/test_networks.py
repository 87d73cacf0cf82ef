"""Recipes that look into a network work with all kinds of them."""

from contextlib import nullcontext

import pytest
import torch
from tiny_networks import tiny_network

from trainable.data.packed_labels import pack, unpack
from trainable.networks.registry import ARCHITECTURES, build_network
from trainable.objectives.losses import training_loss
from trainable.recipes.registry import build_recipe

pytestmark = pytest.mark.usefixtures("narrow_decoders")

SIZE = (41, 64)  # no multiple of any stride
REFUSING = ("mask-rcnn", "sam")  # of dual_branch


def make(architecture, **values):
    config = tiny_network(architecture, supervision="scribbles", inputs="image", **values)
    network = build_network(config, [100.0] * 3, [50.0] * 3, 0, 4)
    return build_recipe(config, network, lambda *given: training_loss(*given[:2], config, True, given[2]), nullcontext)


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, *SIZE, 3), dtype=torch.uint8, generator=generator)
    scribble = torch.randint(0, 4, (2, *SIZE), dtype=torch.uint8, generator=generator)
    return images, torch.from_numpy(pack(scribble.numpy(), 0 * scribble.numpy()))


def untrained(recipe, batch):
    """The names of trainable parameters without a finite gradient."""
    torch.manual_seed(0)
    recipe(*batch).backward()
    trained = [(name, parameter.grad) for name, parameter in recipe.named_parameters() if parameter.requires_grad]
    assert trained
    return [name for name, gradient in trained if gradient is None or not gradient.isfinite().all()]


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in REFUSING])
def test_every_network_with_an_encoder_has_two_branches(architecture, batch):
    recipe, (images, labels) = make(architecture, recipe="dual_branch"), batch
    own = {id(parameter) for parameter in recipe.network.parameters()}
    second = [parameter for parameter in recipe.parameters() if id(parameter) not in own]
    assert len(second) == len(own) - len(list(recipe.network.core.encoder.parameters()))
    predictions = []
    for network in (recipe.network, recipe.both):
        torch.manual_seed(0)
        predictions.append(network(images, unpack(labels)[0]))
    assert torch.equal(predictions[0], predictions[1][:, :4])
    assert untrained(recipe, batch) == []


@pytest.mark.parametrize("transport", ["none", "blocks"])
def test_puzzles_of_images_train_all_of_an_exmod_unet(transport, batch):
    assert untrained(make("exmod-unet", recipe="cyclemix", mix_transport=transport), batch) == []
