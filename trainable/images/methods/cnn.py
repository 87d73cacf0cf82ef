"""A convolutional network per image: ``depth`` convolutions of ``width`` channels and a linear layer."""

from __future__ import annotations

from functools import partial

from torch import nn

from trainable.data.dataset import UNLABELLED
from trainable.images.method import Method, ScribbledImage
from trainable.images.small_networks.network_inputs import part_sizes
from trainable.images.small_networks.network_method import NetworkConfig, NetworkMethod
from trainable.images.small_networks.site_training import convolutions, train_at_sites


def cnn(config: NetworkConfig) -> Method:
    return convolutional(config, config.kernel)


def convolutional(config: NetworkConfig, kernel: int) -> Method:
    """Networks of convolutions, whose training needs the pixels around scribbles only."""

    def build(channels: int, classes: int) -> nn.Sequential:
        return convolutions(channels, classes, config.depth, config.width, kernel)

    def numbers(image: ScribbledImage) -> int:
        sites = min(config.scribble_pixels, int((image.scribble != UNLABELLED).sum()))
        return sites * kernel**2 * (sum(part_sizes(image, config.inputs).values()) + config.depth * config.width)

    train = partial(train_at_sites, config=config)
    return NetworkMethod(config.inputs, build, train, numbers, halo=config.depth * (kernel // 2))
