"""The U-Net of Ronneberger et al. (2015), 64 to 1024 channels wide, with batch norm and padded convolutions."""

from functools import partial

from torch import nn

from trainable.config import Config
from trainable.networks.cores.blocks import UShape, convolutions
from trainable.networks.scribble_network import Channels


def unet_plain(config: Config, channels: Channels) -> nn.Module:
    return UShape(config, channels, partial(convolutions, count=2))
