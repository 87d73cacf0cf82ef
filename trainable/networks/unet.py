"""The U-Net of segmentation-models-pytorch, with an encoder by name."""

from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from trainable.config import Config
from trainable.networks.encoders import encoder_name
from trainable.networks.scribble_network import Channels


def unet(config: Config, channels: Channels) -> nn.Module:
    network: Any = smp.Unet(
        encoder_name=encoder_name(config.encoder),
        encoder_weights=config.encoder_weights,
        decoder_attention_type=config.attention,
        in_channels=channels.inputs,
        classes=channels.outputs,
    )
    network.segmentation_head = nn.Sequential(nn.Dropout2d(config.dropout), network.segmentation_head)
    return network  # type: ignore[no-any-return]
