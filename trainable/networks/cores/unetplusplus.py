"""UNet++ (Zhou et al., 2018) of segmentation-models-pytorch: a U-Net whose skips pass through nested decoders."""

import segmentation_models_pytorch as smp
from torch import nn

from trainable.config import Config
from trainable.networks.encoders import with_encoder
from trainable.networks.scribble_network import Channels


def unetplusplus(config: Config, channels: Channels) -> nn.Module:
    return with_encoder(smp.UnetPlusPlus, config, channels, decoder_attention_type=config.attention)
