"""The wrapper of every network: bytes in, logits per pixel out."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainable.config import SCRIBBLED
from trainable.data import scribbles
from trainable.errors import UserError


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
    checkpoint is enough to predict, and the device receives bytes instead of floats, a fifth of the traffic. Images
    whose sides are no multiples of ``stride`` are padded by reflection, and the logits cropped back.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        core: nn.Module,
        mean: list[float],
        std: list[float],
        classes: int = 2,
        inputs: str = SCRIBBLED,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.core, self.classes, self.inputs, self.stride = core, classes, inputs, stride
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, images: Tensor, scribble: Tensor) -> Tensor:
        """``images`` (B, H, W, C) and ``scribble`` (B, H, W) as bytes; returns logits (B, 1 or K, H, W).

        Images may also be floats in the range of bytes.
        """
        logits: Tensor = self.core(self.channels(images, scribble))
        height, width = images.shape[1:3]
        if logits.shape[2:] != (height, width):
            top, left = ((padded - side) // 2 for padded, side in zip(logits.shape[2:], (height, width), strict=True))
            logits = logits[..., top : top + height, left : left + width]
        return logits

    def channels(self, images: Tensor, scribble: Tensor) -> Tensor:
        """What the core sees, (B, C, H, W) in channels_last; both sides are multiples of the stride."""
        channels = (images.float() - self.mean) / self.std
        if self.inputs == SCRIBBLED:
            channels = torch.cat([channels, self._strokes(scribble)], dim=-1)
        return self.padded(channels).permute(0, 3, 1, 2)  # a view that is channels_last already

    def padded(self, pixels: Tensor) -> Tensor:
        """Bytes or channels (B, H, W, ...), with both sides padded by reflection to multiples of the stride."""
        for axis in (1, 2):
            if pixels.shape[axis] % self.stride:
                pixels = pixels.index_select(axis, _reflected(pixels.shape[axis], self.stride, pixels.device))
        return pixels

    def with_core(self, core: nn.Module) -> "ScribbleNetwork":
        """The same wrapper around another core, which shares everything else with this one."""
        other = copy.copy(self)
        other._modules = {**self._modules, "core": core}
        return other

    def _strokes(self, scribble: Tensor) -> Tensor:
        if self.classes > 2:
            return torch.stack([scribble == code for code in range(1, self.classes + 1)], dim=-1).float()
        foreground = (scribble == scribbles.FOREGROUND_STROKE).float()
        background = (scribble == scribbles.BACKGROUND_STROKE).float()
        return (foreground - background).unsqueeze(-1)


def encoder_of(network: ScribbleNetwork, asked: str) -> nn.Module:
    """The encoder of a network. SAM and networks of plugins may have none; the error names what ``asked`` for it."""
    encoder = getattr(network.core, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise UserError(f"{asked}: needs a network with an encoder; this one has none")
    return encoder


def _reflected(length: int, stride: int, device: torch.device) -> Tensor:
    """The pixels of a side that is padded to a multiple of the stride at both ends, mirrored as often as it takes."""
    padded = -(-length // stride) * stride
    period = max(1, 2 * (length - 1))
    places = (torch.arange(padded, device=device) - (padded - length) // 2) % period
    return torch.minimum(places, period - places)


def probabilities_of(logits: Tensor) -> Tensor:
    """Of two classes the probability of the foreground (B, 1, H, W), else of each class (B, K, H, W)."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
