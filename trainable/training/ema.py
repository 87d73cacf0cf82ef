"""Exponential moving average of the weights and batch statistics."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Holds the averaged network; with ``decay`` 0 nothing is averaged and the network itself is scored."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.live = network
        self.network = copy.deepcopy(network).requires_grad_(False) if decay else network
        self._pairs = list(zip(_floats(self.network), _floats(network), strict=True)) if decay else []

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the current weights, faster in early steps, so that the initial weights are soon forgotten."""
        if self._pairs:
            decay = min(self.decay, (1 + step) / (10 + step))
            averaged, live = ([pair[k] for pair in self._pairs] for k in (0, 1))
            torch._foreach_lerp_(averaged, live, 1 - decay)


def _floats(network: nn.Module) -> list[Tensor]:
    return [tensor for tensor in network.state_dict(keep_vars=True).values() if tensor.is_floating_point()]
