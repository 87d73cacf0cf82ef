"""What all recipes have in common: how a batch of images and labels becomes a loss."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from trainable.config import Config
from trainable.data.dataset import IGNORED
from trainable.data.labelled import MASKS
from trainable.data.packed_labels import unpack
from trainable.networks.scribble_network import ScribbleNetwork

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]  # of logits, packed labels and images: their loss in float32
Autocast = Callable[[], AbstractContextManager[object]]


class Recipe(nn.Module):
    """Called with a batch, it returns the loss.

    ``network`` is what is scored and exported; all parameters of a recipe are trained by one optimizer. A call must not
    wait for the device and draws random numbers from the device's generator only, which is seeded at each step. What
    changes with the step is set beforehand by ``set_step``, in tensors, because a call may be replayed as a CUDA graph.
    """

    def __init__(self, network: ScribbleNetwork, config: Config, objective: Objective, autocast: Autocast) -> None:
        super().__init__()
        self.network, self.config, self.objective, self.autocast = network, config, objective, autocast

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of ``images`` (B, H, W, C), as bytes, and packed ``labels`` (B, H, W)."""
        raise NotImplementedError

    def set_step(self, step: int) -> None:
        """Prepare for the call of a step, counted from 0."""

    def after_update(self) -> None:
        """Follow an update of the parameters, as averages do."""

    def averages(self) -> list[ScribbleNetwork]:
        """Averages of the network, which start from the same encoder."""
        return []

    def compiled(self) -> list[nn.Module]:
        """The modules that ``acceleration: compile`` compiles."""
        return [self.network]

    def predict(self, images: Tensor, labels: Tensor) -> Tensor:
        """The network's logits; images may be floats in the range of bytes."""
        with self.autocast():
            logits: Tensor = self.network(images, unpack(labels)[0])
        return logits

    def known(self, labels: Tensor) -> Tensor | None:
        """1 for the pixels that count, (B, 1, H, W), or None if all do: masks may have pixels that are ignored."""
        if self.config.supervision != MASKS:
            return None
        counts: Tensor = unpack(labels)[1] != IGNORED
        return counts.unsqueeze(1).float()

    def state(self) -> dict[str, Tensor]:
        """What has to be saved besides the network."""
        shared = {id(tensor) for tensor in self.network.state_dict(keep_vars=True).values()}
        tensors = self.state_dict(keep_vars=True).items()
        return {name: tensor.detach() for name, tensor in tensors if id(tensor) not in shared}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
