"""AdamW and its learning-rate schedule, a pure function of the config and the step."""

import math
from typing import Any

import torch
from torch import nn

from trainable.config import Config

FACTOR = "factor"  # of a parameter group, on the learning rate of the step


def make_optimizer(trained: nn.Module, config: Config, encoder: nn.Module | None = None) -> torch.optim.AdamW:
    """Weight decay applies to weight matrices and kernels only, not to norms and biases.

    An ``encoder`` that has a learning rate of its own gets two more groups, which hold the factor.
    """
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    of_encoder = set() if encoder is None else set(encoder.parameters())
    groups = _groups([p for p in parameters if p not in of_encoder], config)
    if own := [p for p in parameters if p in of_encoder]:
        groups += [{**group, FACTOR: config.encoder_learning_rate} for group in _groups(own, config)]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _groups(parameters: list[nn.Parameter], config: Config) -> list[dict[str, Any]]:
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate(step: int, config: Config) -> float:
    """The learning rate of a step (from 0): linear warm-up, then a cosine over the rest of the horizon."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    swing = (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * swing


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set it without waiting for the device; a captured step reads it from a tensor."""
    for group in optimizer.param_groups:
        own = rate * group.get(FACTOR, 1.0)
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own
