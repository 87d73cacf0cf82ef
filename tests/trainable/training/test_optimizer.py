import math

import pytest
import torch
from conftest import small_config
from torch import nn

from trainable.config import Config, make_config
from trainable.networks.registry import build_network
from trainable.training.optimizer import learning_rate, make_optimizer


def test_the_rate_falls_along_a_cosine_over_the_whole_horizon():
    config = Config()
    assert learning_rate(0, config) == pytest.approx(5e-3)
    # Half way: (5e-3 + 1e-7) / 2.
    assert learning_rate(6_000, config) == pytest.approx((5e-3 + 1e-7) / 2)
    assert learning_rate(12_000, config) == pytest.approx(1e-7)
    rates = [learning_rate(step, config) for step in range(12_001)]
    assert rates == sorted(rates, reverse=True)


def test_warm_up_climbs_evenly_and_the_cosine_takes_the_rest():
    config = make_config({"steps": 110, "warmup_steps": 10, "learning_rate": 1.0, "final_learning_rate": 0})
    assert [learning_rate(step, config) for step in range(10)] == pytest.approx([k / 10 for k in range(1, 11)])
    assert learning_rate(10, config) == pytest.approx(1.0)
    assert learning_rate(60, config) == pytest.approx(0.5)


def test_a_horizon_of_only_warm_up_does_not_divide_by_zero():
    assert math.isfinite(learning_rate(5, make_config({"steps": 5, "warmup_steps": 5})))


def test_decay_spares_norms_and_biases():
    network = build_network(small_config(weight_decay=0.5), [0.0] * 3, [1.0] * 3, seed=0)
    optimizer = make_optimizer(network, small_config(weight_decay=0.5))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(network.parameters()))
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            spared = isinstance(module, nn.modules.batchnorm._BatchNorm) or name == "bias"
            assert decay[id(parameter)] == (0.0 if spared else 0.5)


def test_decay_pulls_on_weights_apart_from_the_gradient():
    network = nn.Linear(2, 2)
    optimizer = make_optimizer(network, make_config({"learning_rate": 0.1, "weight_decay": 0.5}))
    before = network.weight.detach().clone()
    network.weight.grad, network.bias.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    # Decoupled: the weight shrinks by rate * decay = 0.1 * 0.5 whatever the gradient.
    torch.testing.assert_close(network.weight.detach(), before * 0.95)
