import pytest
import torch
from torch import nn

from trainable.networks.ema import Ema


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize(
    ("step", "moved"),
    [
        (1_000, 0.1),  # far into training the decay is 0.9: a tenth of the step of 1
        (0, 0.9),  # at step 0 it is (1 + 0) / (10 + 0) = 0.1: nine tenths
    ],
)
def test_the_average_follows_by_its_decay_and_faster_early_on(step, moved):
    live = network()
    ema = Ema(live, decay=0.9)
    start = live[0].weight.detach().clone()
    with torch.no_grad():
        live[0].weight.add_(1.0)
    ema.set_step(step)
    ema.update()
    torch.testing.assert_close(ema.network[0].weight, start + moved)


def test_batch_statistics_are_averaged_too():
    live = network()
    ema = Ema(live, decay=0.9)
    with torch.no_grad():
        live[1].running_mean.fill_(1.0)
    ema.set_step(1_000)
    ema.update()
    torch.testing.assert_close(ema.network[1].running_mean, torch.full((3,), 0.1))


def test_the_average_is_not_trained():
    ema = Ema(network(), decay=0.9)
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())


def test_without_decay_the_network_itself_is_scored():
    live = network()
    ema = Ema(live, decay=0)
    ema.set_step(5)
    ema.update()
    assert ema.network is live
