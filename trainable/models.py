"""Networks by name. A network takes bytes, an image and its scribble, and gives a logit per pixel."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from trainable import scribbles
from trainable.config import Config
from trainable.errors import UserError, did_you_mean
from trainable.pretrained import cache_alone_if_silent

CHANNELS = 4


class ScribbleNetwork(nn.Module):
    """Makes the four channels (normalised RGB, scribble as -1 / 0 / +1) from bytes, then runs the core on them.

    The normalisation is a part of the weights, so a checkpoint alone is enough to predict, and bytes instead of floats
    travel to the device: a fifth of the traffic.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, core: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.core = core
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, images: Tensor, scribble: Tensor) -> Tensor:
        """``images`` (B, H, W, 3) and ``scribble`` (B, H, W) as bytes; logits come back as (B, 1, H, W)."""
        colour = (images.float() - self.mean) / self.std
        foreground = (scribble == scribbles.FOREGROUND).float()
        background = (scribble == scribbles.BACKGROUND).float()
        channels = torch.cat([colour, (foreground - background).unsqueeze(-1)], dim=-1)
        logits: Tensor = self.core(channels.permute(0, 3, 1, 2))  # a view that is channels_last already
        return logits


def _unet(config: Config) -> nn.Module:
    network: Any = smp.Unet(
        encoder_name=_encoder_name(config.encoder),
        encoder_weights=config.encoder_weights,
        decoder_attention_type=config.attention,
        in_channels=CHANNELS,
        classes=1,
    )
    network.segmentation_head = nn.Sequential(nn.Dropout2d(config.dropout), network.segmentation_head)
    return network  # type: ignore[no-any-return]


# A new architecture is a function here and its name in Config.architecture.
ARCHITECTURES: dict[str, Callable[[Config], nn.Module]] = {"unet": _unet}


def build_network(config: Config, mean: list[float], std: list[float], seed: int | None = None) -> ScribbleNetwork:
    """The network of a configuration, its weights drawn from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        core = _build_core(config)
    return ScribbleNetwork(core, mean, std).to(memory_format=torch.channels_last)


def _build_core(config: Config) -> nn.Module:
    try:
        with cache_alone_if_silent() if config.encoder_weights else nullcontext():
            return ARCHITECTURES[config.architecture](config)
    except UserError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        cause = f"{type(error).__name__}: {first}"
        if config.encoder_weights is not None:
            raise UserError(
                f"encoder_weights = {config.encoder_weights!r}: the weights of {config.encoder!r} cannot be had here "
                f"({cause}); put them into the hub's cache {constants.HF_HUB_CACHE}, or use encoder_weights=none"
            ) from error
        raise UserError(
            f"encoder = {config.encoder!r}: cannot be the encoder of a {config.architecture} ({cause})"
        ) from error


def _encoder_name(name: str) -> str:
    """smp's own encoders by their name, any other timm model through smp's wrapper (``tu-``)."""
    own = smp.encoders.get_encoder_names()
    if name in own:
        return name
    model = name.removeprefix("tu-")
    if timm.is_model(model.split(".")[0]):
        return f"tu-{model}"
    hint = did_you_mean(model, [*own, *timm.list_models()])
    raise UserError(
        f"encoder = {name!r}: neither smp nor timm knows it.{hint} All of them: smp's encoders, timm.list_models()"
    )
