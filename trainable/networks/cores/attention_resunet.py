"""Attention ResUNet: residual blocks, and the attention gates of Oktay et al. (2018) on the skips."""

from torch import Tensor, nn

from trainable.config import Config
from trainable.networks.cores.blocks import Residual, UShape
from trainable.networks.scribble_network import Channels


class AttentionGate(nn.Module):
    """Weights every pixel of a skip between 0 and 1, from the skip itself and the expanding path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 2
        self.of_skip, self.of_path = (
            nn.Sequential(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner)) for _ in range(2)
        )
        self.weight = nn.Sequential(
            nn.ReLU(inplace=True), nn.Conv2d(inner, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid()
        )

    def forward(self, skip: Tensor, path: Tensor) -> Tensor:
        weighted: Tensor = skip * self.weight(self.of_skip(skip) + self.of_path(path))
        return weighted


def attention_resunet(config: Config, channels: Channels) -> nn.Module:
    return UShape(config, channels, Residual, AttentionGate)
