"""The U-Net of ExMod: twice the convolutions at every level; the wrapper pads any size dynamically, by reflection."""

from functools import partial

from torch import nn

from trainable.config import Config
from trainable.networks.cores.blocks import UShape, convolutions
from trainable.networks.scribble_network import Channels


def exmod_unet(config: Config, channels: Channels) -> nn.Module:
    return UShape(config, channels, partial(convolutions, count=4))
