"""A plugin: a network and a loss of one's own, with their hyperparameters. A space names it: plugins: own_parts.py.

This file is code that is executed wherever the space is read and on every node that trains it. It must be complete in
itself: only installed packages can be imported here.
"""

from pydantic import BaseModel, Field
from torch import Tensor, nn

from trainable import Channels, Config, Network, only_with

WITH_DILATED = only_with(architecture=("dilated",))
WITH_POWER = only_with(loss=("power-jaccard",))


class Hyperparameters(BaseModel):
    """Each belongs to a network or a loss below and exists only with it."""

    dilated_width: int = Field(32, ge=4, le=512, description="channels of each layer", json_schema_extra=WITH_DILATED)
    dilated_layers: int = Field(4, ge=1, le=7, description="of dilation 1, 2, 4, ...", json_schema_extra=WITH_DILATED)
    power: float = Field(1.5, gt=0, le=3, description="of terms of the union", json_schema_extra=WITH_POWER)


class Dilated(nn.Module):
    """Convolutions at half resolution, each of which sees twice as far as the one before."""

    def __init__(self, config: Config, channels: Channels) -> None:
        super().__init__()
        width, layers = config.dilated_width, config.dilated_layers
        self.encoder = Encoder(channels.inputs, width)
        blocks = [layer(width, width, dilation=2**number) for number in range(layers)]
        self.context = nn.Sequential(*blocks, nn.Upsample(scale_factor=2, mode="bilinear"))
        self.head = nn.Sequential(nn.Dropout2d(config.dropout), nn.Conv2d(width, channels.outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.context(self.encoder(x)[-1]))


class Encoder(nn.Module):
    """Returns feature maps from fine to coarse, of ``out_channels``, as the encoders of smp do."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.out_channels = (inputs, width)
        self.stem = layer(inputs, width, stride=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, self.stem(x)]


def layer(inputs: int, outputs: int, **options: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=options.get("dilation", 1), bias=False, **options)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def power_jaccard(probabilities: Tensor, truth: Tensor, power: float) -> Tensor:
    """One minus an IoU whose union has powers of its terms: tensors are (N, C, H, W), the result is (N, C)."""
    p, g = probabilities.float().flatten(-2), truth.float().flatten(-2)
    overlap = (p * g).sum(-1)
    union = (p**power + g**power).sum(-1) - overlap
    return 1 - (overlap + 1e-6) / (union + 1e-6)


NETWORKS = {"dilated": Network(Dilated, stride=lambda config: 2)}
LOSSES = {"power-jaccard": power_jaccard}
