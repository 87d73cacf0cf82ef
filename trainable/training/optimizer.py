"""AdamW and its learning-rate schedule, a pure function of the config and the step."""

import math

import torch
from torch import nn

from trainable.config import Config


def make_optimizer(network: nn.Module, config: Config) -> torch.optim.AdamW:
    """Weight decay applies to weight matrices and kernels only, not to norms and biases."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


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
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
