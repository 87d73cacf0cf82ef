"""The wrapper of every network: bytes in, one logit per pixel out."""

import torch
from torch import Tensor, nn

from trainable.data import scribbles

CHANNELS = 4


class ScribbleNetwork(nn.Module):
    """Builds the four channels (normalised RGB, scribble as -1 / 0 / +1) from bytes and runs the core on them.

    The normalisation is part of the weights, so a checkpoint is enough to predict, and the device receives bytes
    instead of floats, a fifth of the traffic.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, core: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.core = core
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, images: Tensor, scribble: Tensor) -> Tensor:
        """``images`` (B, H, W, 3) and ``scribble`` (B, H, W) as bytes; returns logits (B, 1, H, W)."""
        colour = (images.float() - self.mean) / self.std
        foreground = (scribble == scribbles.FOREGROUND).float()
        background = (scribble == scribbles.BACKGROUND).float()
        channels = torch.cat([colour, (foreground - background).unsqueeze(-1)], dim=-1)
        logits: Tensor = self.core(channels.permute(0, 3, 1, 2))  # a view that is channels_last already
        return logits
