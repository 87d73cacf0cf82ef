"""A network per image that looks at single pixels: a CNN of kernel size 1."""

from __future__ import annotations

from trainable.images.method import Method
from trainable.images.methods.cnn import convolutional
from trainable.images.small_networks.network_method import NetworkConfig


def pixelwise(config: NetworkConfig) -> Method:
    return convolutional(config, kernel=1)
