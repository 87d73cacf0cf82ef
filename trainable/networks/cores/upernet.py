"""UPerNet (Xiao et al., 2018) of segmentation-models-pytorch: pyramid pooling and a feature pyramid."""

import segmentation_models_pytorch as smp
from torch import nn

from trainable.config import Config
from trainable.networks.encoders import with_encoder
from trainable.networks.scribble_network import Channels


def upernet(config: Config, channels: Channels) -> nn.Module:
    return with_encoder(smp.UPerNet, config, channels)
