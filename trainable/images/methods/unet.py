"""A U-Net per image, without to with four downscalings, trained on windows around scribbles."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from trainable.data.dataset import UNLABELLED
from trainable.images.method import Method, ScribbledImage
from trainable.images.small_networks.network_inputs import channels_of, window_inputs
from trainable.images.small_networks.network_loss import impossible_logits, penalty
from trainable.images.small_networks.network_method import NetworkConfig, NetworkMethod

WINDOW = 64  # the side of what an iteration sees of each image; a multiple of every stride


class SmallUNet(nn.Module):
    """Two convolutions per resolution, on the way down and on the way up, as in the U-Net of 2015."""

    def __init__(self, channels: int, classes: int, width: int, downscalings: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(downscalings + 1)]
        self.stride = 2**downscalings
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in reversed(list(itertools.pairwise(widths))))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.stride, 0, -height % self.stride))
        finer = []
        for number, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if number else x)
            finer.append(x)
        for block, skip in zip(self.up, finer[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2), skip], 1))
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]


def _block(before: int, after: int) -> nn.Sequential:
    layers = [nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(after, after, 3, padding=1)]
    return nn.Sequential(*layers, nn.LeakyReLU())


def unet(config: NetworkConfig) -> Method:
    def build(channels: int, classes: int) -> nn.Module:
        return SmallUNet(channels, classes, config.width, config.downscalings)

    def numbers(image: ScribbledImage) -> int:
        return 8 * WINDOW**2 * config.width

    train = partial(train_on_windows, config=config)
    return NetworkMethod(config.inputs, build, train, numbers, halo=8 * 2**config.downscalings)


def train_on_windows(
    networks: Sequence[nn.Module],
    images: Sequence[ScribbledImage],
    classes: int,
    device: torch.device,
    config: NetworkConfig,
) -> None:
    """Train the network of each image on windows around its scribbled pixels, one of every image per iteration.

    The first windows are around a pixel of each class, so that none is missed; the others are around any.
    """
    stacked, _ = stack_module_state(list(networks))
    weights = {name: weight.detach().to(device).requires_grad_() for name, weight in stacked.items()}
    skeleton = copy.deepcopy(networks[0]).to("meta")
    predict = torch.vmap(lambda own, inputs: functional_call(skeleton, own, (inputs[None],))[0])
    impossible = impossible_logits(images, classes)[..., None].to(device)  # (images, classes, 1, 1)
    penalised = channels_of(images[0], config.inputs, config.penalised)
    streams = [windows(image, config) for image in images]
    optimizer = torch.optim.Adam(weights.values(), config.learning_rate, fused=True)
    for _ in range(config.iterations):
        drawn = [next(stream) for stream in streams]
        inputs = torch.stack([each for each, _ in drawn]).to(device).requires_grad_(bool(config.beta))
        labels = torch.stack([each for _, each in drawn]).to(device)
        logits = predict(weights, inputs) + impossible
        losses = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="none")
        loss = (losses.sum((1, 2)) / (labels != UNLABELLED).sum((1, 2))).sum()
        if config.beta:
            loss = loss + penalty(loss, inputs, config.beta, penalised, axis=1)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        for number, network in enumerate(networks):
            network.load_state_dict({name: weight[number] for name, weight in weights.items()})


def windows(image: ScribbledImage, config: NetworkConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs (C, h, w) and labels (h, w) of windows around scribbled pixels, without end."""
    rng = np.random.default_rng(image.seed)
    scribbled = np.argwhere(image.scribble != UNLABELLED)
    labels = np.unique(image.scribble[image.scribble != UNLABELLED])
    first = [rng.choice(np.argwhere(image.scribble == label)) for label in labels]
    for turn in itertools.count():
        middle = first[turn] if turn < len(first) else rng.choice(scribbled)
        rows, columns = (_around(int(at), length) for at, length in zip(middle, image.scribble.shape, strict=True))
        seen = torch.from_numpy(image.scribble[rows.start : rows.stop, columns.start : columns.stop].astype(np.int64))
        missing = (0, WINDOW - len(columns), 0, WINDOW - len(rows))
        inputs = window_inputs(image, config.inputs, rows, columns)
        yield F.pad(inputs, missing), F.pad(seen, missing, value=UNLABELLED)


def _around(middle: int, length: int) -> range:
    """A window of one side that is within the image, as far as there is space."""
    start = max(0, min(middle - WINDOW // 2, length - WINDOW))
    return range(start, min(start + WINDOW, length))
