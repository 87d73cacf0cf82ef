"""The U-Net of segmentation-models-pytorch, with an encoder by name."""

import segmentation_models_pytorch as smp
from torch import nn

from trainable.config import Config
from trainable.networks.encoders import with_encoder
from trainable.networks.scribble_network import Channels


def unet(config: Config, channels: Channels) -> nn.Module:
    return with_encoder(smp.Unet, config, channels, decoder_attention_type=config.attention)
