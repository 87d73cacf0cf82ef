"""Exponential moving average of the weights and batch statistics."""

import copy

import torch
from torch import Tensor, nn

from trainable.networks.scribble_network import ScribbleNetwork


class Ema:
    """Holds the averaged network; with ``decay`` 0 nothing is averaged and the network itself is scored."""

    def __init__(self, network: ScribbleNetwork, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False) if decay else network
        self._averaged = _floats(self.network) if decay else []
        self._current = _floats(network) if decay else []
        self._weight = torch.zeros((), device=self._averaged[0].device) if self._averaged else torch.zeros(())

    def set_step(self, step: int) -> None:
        """Give the current weights more influence in early steps, so that the initial weights are soon forgotten."""
        if self.decay:
            self._weight.fill_(1 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the current weights: averaged += weight * (current - averaged)."""
        if self.decay:
            # A linear interpolation with a tensor as its weight, which a captured step needs, is one kernel per tensor.
            change = torch._foreach_sub(self._current, self._averaged)
            torch._foreach_mul_(change, self._weight)
            torch._foreach_add_(self._averaged, change)


def _floats(network: nn.Module) -> list[Tensor]:
    return [tensor for tensor in network.state_dict(keep_vars=True).values() if tensor.is_floating_point()]
