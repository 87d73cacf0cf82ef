"""The parts of U-Nets made by hand: blocks of convolutions, the contracting path, and the U around it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainable.config import Config
from trainable.networks.scribble_network import Channels

Block = Callable[[int, int], nn.Module]  # of the channels it takes and gives


def convolutions(inputs: int, outputs: int, count: int) -> nn.Sequential:
    """Convolutions of 3x3, each followed by batch norm and ReLU."""
    layers: list[nn.Module] = []
    for number in range(count):
        layers.append(nn.Conv2d(outputs if number else inputs, outputs, 3, padding=1, bias=False))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """Two convolutions whose result is added to a projection of the input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *convolutions(inputs, outputs, 1),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.convolutions(x) + self.projection(x))
        return result


class ContractingPath(nn.Module):
    """Blocks with pooling between them. Returns the features of every level, the bottleneck last, as smp's encoders."""

    def __init__(self, inputs: int, widths: Sequence[int], block: Block) -> None:
        super().__init__()
        self.out_channels = list(widths)
        self.blocks = nn.ModuleList(block(a, b) for a, b in zip([inputs, *widths], widths, strict=False))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for block in self.blocks:
            x = block(self.pool(features[-1]) if features else x)
            features.append(x)
        return features


class UShape(nn.Module):
    """A contracting path, an expanding one with transposed convolutions, and skips between them.

    ``gate`` makes a module that weights a skip by what the expanding path has found at its level.
    """

    def __init__(
        self, config: Config, channels: Channels, block: Block, gate: Callable[[int], nn.Module] | None = None
    ) -> None:
        super().__init__()
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        self.encoder = ContractingPath(channels.inputs, widths, block)
        levels = widths[-2::-1]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in levels)
        self.blocks = nn.ModuleList(block(2 * width, width) for width in levels)
        self.gates = nn.ModuleList(gate(width) for width in levels) if gate else None
        self.head = nn.Sequential(nn.Dropout2d(config.dropout), nn.Conv2d(config.width, channels.outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        *skips, x = self.encoder(x)
        for level, (up, block, skip) in enumerate(zip(self.ups, self.blocks, reversed(skips), strict=True)):
            x = up(x)
            if self.gates is not None:
                skip = self.gates[level](skip, x)
            x = block(torch.cat([skip, x], dim=1))
        logits: Tensor = self.head(x)
        return logits
