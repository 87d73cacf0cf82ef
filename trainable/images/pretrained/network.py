"""A network that has seen other images, at the size that it works at, and what it computes of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from trainable.config import ImageConfig
from trainable.data.dataset import UNLABELLED, Pixels
from trainable.images.regions import keep_classes
from trainable.networks.registry import build_network
from trainable.networks.scribble_network import ScribbleNetwork, encoder_of, probabilities_of
from trainable.networks.weights_file import load_encoder, read_weights, source_of
from trainable.storage.shared_file import SharedFile
from trainable.training.checkpoint import load_network

MOST_SIDE = 512  # pixels of the longer side that a network without a working size of its own sees
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # of ImageNet, and of SAM


@dataclass(frozen=True)
class PretrainedNetwork:
    """``size`` is the width and height that the network was trained at; None stands for the image's own."""

    network: ScribbleNetwork
    size: tuple[int, int] | None
    device: torch.device

    @property
    def probability_channels(self) -> int:
        """The first of the decoder's maps."""
        return 1 if self.network.classes == 2 else self.network.classes

    def seen(self, image: Pixels, scribble: Pixels) -> tuple[Tensor, Tensor]:
        """The bytes (1, h, w, C) and the codes of the scribbles (1, h, w) that the network sees."""
        size = self.size or _within(image.shape[1], image.shape[0])
        colours = _resized(_with_channels(image, self.network.mean.numel()), size, Image.Resampling.LANCZOS)
        labels = _reduced(scribble, size)
        codes = np.where(labels == UNLABELLED, 0, labels + 1).astype(np.uint8)
        colours = colours.reshape(*codes.shape, -1)
        return torch.from_numpy(colours)[None].to(self.device), torch.from_numpy(codes)[None].to(self.device)

    @torch.inference_mode()
    def decoder_maps(self, image: Pixels, scribble: Pixels) -> Tensor:
        """Probabilities, of two classes that of the foreground, and then what the last layer computes them from.

        They are (C, h, w). Networks without such a layer over the whole image have probabilities alone.
        """
        found: list[Tensor] = []
        head = head_of(self.network)
        hook = head.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0])) if head else None
        images, codes = self.seen(image, scribble)
        probabilities = probabilities_of(self.network(images, codes))
        if hook is None:
            return probabilities[0]
        hook.remove()
        height, width = self.network.padded(codes).shape[1:]
        activations = F.interpolate(found[0].float(), (height, width), mode="bilinear", align_corners=False)
        top, left = (height - codes.shape[1]) // 2, (width - codes.shape[2]) // 2
        activations = activations[..., top : top + codes.shape[1], left : left + codes.shape[2]]
        return torch.cat([probabilities, activations], dim=1)[0]

    @torch.inference_mode()
    def encoder_maps(self, image: Pixels, scribble: Pixels) -> Tensor:
        """The coarsest maps of the encoder (C, h, w), which tell more of what is shown than of colours and edges."""
        maps = self.network.core.encoder(self.network.channels(*self.seen(image, scribble)))  # type: ignore[operator]
        coarsest: Tensor = maps[-1][0]
        return coarsest


def head_of(network: ScribbleNetwork) -> nn.Module | None:
    """The part that computes logits from the decoder's maps, if it looks at each pixel alike."""
    core = network.core
    head: nn.Module | None = getattr(core, "segmentation_head", None) or getattr(core, "head", None)
    return head


def open_network(
    config: ImageConfig, file: SharedFile | None, classes: int, device: torch.device
) -> PretrainedNetwork | None:
    """The network that a config works with, or None; ``file`` has its weights if they are in a file."""
    if config.features == "fold" and file is not None:
        network, _, state = load_network(file.place(), str(device))
        width, height = state["size"]
        return PretrainedNetwork(network, (int(width), int(height)), device)
    if config.network is None:
        return None
    network = build_network(config.network, MEAN, STD, config.seed, classes)
    if file is not None:
        load_encoder(encoder_of(network, source_of(file)), read_weights(file), source_of(file))
    return PretrainedNetwork(network.to(device).eval(), None, device)


def _within(width: int, height: int) -> tuple[int, int]:
    """The size of an image, reduced to the longest side that is allowed."""
    scale = min(1.0, MOST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(pixels: Pixels, size: tuple[int, int], how: Image.Resampling) -> Pixels:
    return np.array(Image.fromarray(pixels).resize(size, how))


def _reduced(scribble: Pixels, size: tuple[int, int]) -> Pixels:
    """The scribbles as training resizes them, but with a pixel of every class that would be lost."""
    found = _resized(scribble, size, Image.Resampling.NEAREST)
    keep_classes(found, scribble)
    return found


def _with_channels(image: Pixels, channels: int) -> Pixels:
    """An image (H, W, C) as (H, W, 3), or as (H, W) if the network sees grey ones."""
    if channels == 1:
        return np.asarray(Image.fromarray(np.repeat(image, 3 // image.shape[2], axis=2)).convert("L"))
    return np.repeat(image, 3 // image.shape[2], axis=2)
