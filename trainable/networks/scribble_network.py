"""The wrapper of every network: bytes in, logits per pixel out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainable.config import SCRIBBLED
from trainable.data import scribbles


@dataclass(frozen=True)
class Channels:
    """The channels that a core takes and gives: one logit for two classes, else one per class."""

    inputs: int
    outputs: int


def channels_of(inputs: str, channels: int, classes: int) -> Channels:
    """``channels`` are those of the image. Scribbles are one channel of two classes, else one per class."""
    outputs = 1 if classes == 2 else classes
    return Channels(channels + (outputs if inputs == SCRIBBLED else 0), outputs)


class ScribbleNetwork(nn.Module):
    """Builds the channels of the core from bytes and runs it.

    They are the normalised image and, unless the network sees the image alone, the scribbles: of two classes as one
    channel of -1 / 0 / +1, of more as a channel of 0 / 1 per class. The normalisation is part of the weights, so a
    checkpoint is enough to predict, and the device receives bytes instead of floats, a fifth of the traffic.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, core: nn.Module, mean: list[float], std: list[float], classes: int = 2, inputs: str = SCRIBBLED
    ) -> None:
        super().__init__()
        self.core, self.classes, self.inputs = core, classes, inputs
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, images: Tensor, scribble: Tensor) -> Tensor:
        """``images`` (B, H, W, C) and ``scribble`` (B, H, W) as bytes; returns logits (B, 1 or K, H, W)."""
        channels = (images.float() - self.mean) / self.std
        if self.inputs == SCRIBBLED:
            channels = torch.cat([channels, self._strokes(scribble)], dim=-1)
        logits: Tensor = self.core(channels.permute(0, 3, 1, 2))  # a view that is channels_last already
        return logits

    def _strokes(self, scribble: Tensor) -> Tensor:
        if self.classes > 2:
            return torch.stack([scribble == code for code in range(1, self.classes + 1)], dim=-1).float()
        foreground = (scribble == scribbles.FOREGROUND).float()
        background = (scribble == scribbles.BACKGROUND).float()
        return (foreground - background).unsqueeze(-1)


def probabilities_of(logits: Tensor) -> Tensor:
    """Of two classes the probability of the foreground (B, 1, H, W), else of each class (B, K, H, W)."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
