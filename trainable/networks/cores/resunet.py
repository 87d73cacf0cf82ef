"""ResUNet: a U-Net of residual blocks."""

from torch import nn

from trainable.config import Config
from trainable.networks.cores.blocks import Residual, UShape
from trainable.networks.scribble_network import Channels


def resunet(config: Config, channels: Channels) -> nn.Module:
    return UShape(config, channels, Residual)
