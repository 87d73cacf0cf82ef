"""Networks by name: the core of each architecture, and the network built around it."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext

import torch
from huggingface_hub import constants
from torch import nn

from trainable.config import Config
from trainable.errors import UserError
from trainable.networks.hub import cache_alone_if_silent
from trainable.networks.scribble_network import Channels, ScribbleNetwork, channels_of
from trainable.networks.unet import unet

# A new architecture is a file here, its entry in this table and its name in Config.architecture.
ARCHITECTURES: dict[str, Callable[[Config, Channels], nn.Module]] = {"unet": unet}


def build_network(
    config: Config, mean: list[float], std: list[float], seed: int | None = None, classes: int = 2
) -> ScribbleNetwork:
    """Build the network of a config; its initial weights depend on ``seed`` alone.

    ``mean`` and ``std`` have a value per channel of the image.
    """
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        core = _build_core(config, channels_of(config.inputs, len(mean), classes))
    return ScribbleNetwork(core, mean, std, classes, config.inputs).to(memory_format=torch.channels_last)


def fetch_weights(configs: Iterable[Config]) -> None:
    """Download the pretrained weights of these configs into the hub's cache; raises if some are not available."""
    started = {(config.encoder, config.encoder_weights): config for config in configs if config.encoder_weights}
    for config in started.values():
        build_network(config, [0.0] * 3, [1.0] * 3)


def _build_core(config: Config, channels: Channels) -> nn.Module:
    try:
        with cache_alone_if_silent() if config.encoder_weights else nullcontext():
            return ARCHITECTURES[config.architecture](config, channels)
    except UserError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        cause = f"{type(error).__name__}: {first}"
        if config.encoder_weights is not None:
            raise UserError(
                f"encoder_weights = {config.encoder_weights!r}: the weights of {config.encoder!r} are not available "
                f"here ({cause}); put them into the hub's cache {constants.HF_HUB_CACHE}, or use encoder_weights=none"
            ) from error
        raise UserError(
            f"encoder = {config.encoder!r}: cannot be the encoder of a {config.architecture} ({cause})"
        ) from error
