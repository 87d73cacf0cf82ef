"""Encoders by name, those of segmentation-models-pytorch and every model of timm, and smp's networks around them."""

from collections.abc import Callable
from typing import Any

import segmentation_models_pytorch as smp
import timm
from torch import nn

from trainable.config import IMAGENET, Config
from trainable.errors import UserError, did_you_mean
from trainable.networks.packaged_weights import is_packaged, packaged_weights
from trainable.networks.scribble_network import Channels
from trainable.networks.weights_file import load_encoder


def encoder_name(name: str) -> str:
    """smp's own encoders by their name, any other timm model through smp's wrapper (``tu-``)."""
    own = smp.encoders.get_encoder_names()
    if name in own:
        return name
    model = name.removeprefix("tu-")
    if timm.is_model(model.split(".")[0]):
        return f"tu-{model}"
    hint = did_you_mean(model, [*own, *timm.list_models()])
    raise UserError(
        f"encoder = {name!r}: unknown to smp and timm.{hint} Allowed are smp's encoders and timm.list_models()"
    )


def needs_hub(config: Config) -> bool:
    """Whether building the network takes weights from the hub or its cache."""
    return config.encoder_weights == IMAGENET and not is_packaged(config.encoder)


def with_encoder(network: Callable[..., Any], config: Config, channels: Channels, **settings: Any) -> nn.Module:
    """A network of smp with the encoder of a config, and dropout before its last layer."""
    core: Any = network(
        encoder_name=encoder_name(config.encoder),
        encoder_weights=_hub_weights(config),
        in_channels=channels.inputs,
        classes=channels.outputs,
        **settings,
    )
    _load_packaged(core.encoder, config, channels)
    core.segmentation_head = nn.Sequential(nn.Dropout2d(config.dropout), core.segmentation_head)
    return core  # type: ignore[no-any-return]


def encoder_alone(config: Config, channels: Channels) -> Any:
    """The encoder of a config, with the same weights as in a network of smp."""
    encoder = smp.encoders.get_encoder(
        encoder_name(config.encoder), in_channels=channels.inputs, weights=_hub_weights(config)
    )
    _load_packaged(encoder, config, channels)
    return encoder


def _hub_weights(config: Config) -> str | None:
    """What smp is to load: a file is loaded by the fold trial that starts from it, and a package by us."""
    return IMAGENET if needs_hub(config) else None


def _load_packaged(encoder: nn.Module, config: Config, channels: Channels) -> None:
    if config.encoder_weights == IMAGENET and not needs_hub(config):
        load_encoder(encoder, packaged_weights(config.encoder, channels.inputs), config.encoder)
