"""DeepLabv3+ (Chen et al., 2018) of segmentation-models-pytorch: an encoder with parallel dilated convolutions."""

import segmentation_models_pytorch as smp
from torch import nn

from trainable.config import Config
from trainable.networks.encoders import with_encoder
from trainable.networks.scribble_network import Channels

STRIDE = 16  # dilation replaces the encoder's last halving


def deeplabv3plus(config: Config, channels: Channels) -> nn.Module:
    return with_encoder(
        smp.DeepLabV3Plus,
        config,
        channels,
        encoder_output_stride=STRIDE,
        decoder_atrous_rates=config.atrous_rates,
        decoder_aspp_dropout=0.0,  # dropout is that of the config, before the last layer
    )
