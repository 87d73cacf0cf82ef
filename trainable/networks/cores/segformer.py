"""SegFormer (Xie et al., 2021) of segmentation-models-pytorch: a linear decoder, made for the encoders mit_b0 to b5."""

import segmentation_models_pytorch as smp
from torch import nn

from trainable.config import Config
from trainable.networks.encoders import with_encoder
from trainable.networks.scribble_network import Channels


def segformer(config: Config, channels: Channels) -> nn.Module:
    return with_encoder(smp.Segformer, config, channels)
