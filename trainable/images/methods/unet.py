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
from torch.nn.utils.rnn import pad_sequence

from trainable.data.dataset import UNLABELLED
from trainable.images.method import Method, ScribbledImage
from trainable.images.regions import classes_present
from trainable.images.small_networks.network_inputs import channels_of, window_inputs
from trainable.images.small_networks.network_loss import impossible_logits, penalty
from trainable.images.small_networks.network_method import NetworkConfig, NetworkMethod

WINDOW = 64  # the side of what an iteration sees of a class in each image; a multiple of every stride
# Windows of two iterations may contradict each other, and a network without normalisation does not recover from the
# long steps that follow: it starts carefully, ends with short steps, and steps of any length are shortened.
RATE = 0.3  # of the learning rate, the highest
WARMUP = 10  # iterations until then
CLIP = 0.3  # the longest gradient of an image


class SmallUNet(nn.Module):
    """Two convolutions per resolution, on the way down and on the way up, as in the U-Net of 2015."""

    def __init__(self, channels: int, classes: int, width: int, downscalings: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(downscalings + 1)]
        self.stride = 2**downscalings
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in reversed(list(itertools.pairwise(widths))))
        self.head = nn.Conv2d(width, classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, a=0.01)  # of LeakyReLU
                nn.init.zeros_(layer.bias)

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
        return 8 * WINDOW**2 * config.width * len(classes_present(image.scribble))

    train = partial(train_on_windows, config=config)
    return NetworkMethod(config.inputs, build, train, numbers, halo=8 * 2**config.downscalings)


def train_on_windows(
    networks: Sequence[nn.Module],
    images: Sequence[ScribbledImage],
    classes: int,
    device: torch.device,
    config: NetworkConfig,
) -> None:
    """Train the network of each image on windows around its scribbled pixels, one of each class per iteration.

    They are weighted by the class's share of the scribbled pixels.
    """
    stacked, _ = stack_module_state(list(networks))
    weights = {name: weight.detach().to(device).requires_grad_() for name, weight in stacked.items()}
    skeleton = copy.deepcopy(networks[0]).to("meta")
    predict = torch.vmap(lambda own, inputs: functional_call(skeleton, own, (inputs,)))
    impossible = impossible_logits(images, classes)[:, None, ..., None].to(device)  # (images, 1, classes, 1, 1)
    shares = pad_sequence([_shares(image) for image in images], batch_first=True).to(device)  # (images, windows)
    penalised = channels_of(images[0], config.inputs, config.penalised)
    streams = [windows(image, config) for image in images]
    optimizer = torch.optim.Adam(weights.values(), fused=True)
    for turn in range(config.iterations):
        drawn = [next(stream) for stream in streams]
        inputs = pad_sequence([each for each, _ in drawn], batch_first=True).to(device)
        inputs.requires_grad_(bool(config.beta))
        labels = pad_sequence([each for _, each in drawn], batch_first=True, padding_value=UNLABELLED).to(device)
        logits = predict(weights, inputs) + impossible
        losses = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=UNLABELLED, reduction="none")
        loss = (shares * losses.sum((2, 3)) / (labels != UNLABELLED).sum((2, 3)).clamp(min=1)).sum()
        if config.beta:
            loss = loss + penalty(loss, inputs, config.beta, penalised, axis=2)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        shorten([weight.grad for weight in weights.values() if weight.grad is not None])
        rate = min(1.0, (turn + 1) / WARMUP) * (1 - turn / config.iterations)
        optimizer.param_groups[0]["lr"] = RATE * rate * config.learning_rate
        optimizer.step()
    with torch.no_grad():
        for number, network in enumerate(networks):
            network.load_state_dict({name: weight[number] for name, weight in weights.items()})


def shorten(gradients: Sequence[Tensor]) -> None:
    """Limit the length of each image's gradient over all weights, (images, ...), to ``CLIP``."""
    lengths = torch.stack([each.flatten(1).square().sum(1) for each in gradients]).sum(0).sqrt()
    factors = (CLIP / lengths.clamp(min=1e-12)).clamp(max=1)
    for each in gradients:
        each.mul_(factors.view(-1, *[1] * (each.ndim - 1)))


def _shares(image: ScribbledImage) -> Tensor:
    """Of each present class in the scribbled pixels."""
    counts = [float((image.scribble == label).sum()) for label in classes_present(image.scribble)]
    return torch.tensor(counts) / sum(counts)


def windows(image: ScribbledImage, config: NetworkConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs (k, C, h, w) and labels (k, h, w) of a window around a scribbled pixel of each present class, no end."""
    rng = np.random.default_rng(image.seed)
    places = [np.argwhere(image.scribble == label) for label in classes_present(image.scribble)]
    while True:
        drawn = [_window(image, config.inputs, rng.choice(own)) for own in places]
        yield torch.stack([each for each, _ in drawn]), torch.stack([each for _, each in drawn])


def _window(image: ScribbledImage, inputs: str, middle: Sequence[int]) -> tuple[Tensor, Tensor]:
    rows, columns = (_around(int(at), length) for at, length in zip(middle, image.scribble.shape, strict=True))
    seen = torch.from_numpy(image.scribble[rows.start : rows.stop, columns.start : columns.stop].astype(np.int64))
    missing = (0, WINDOW - len(columns), 0, WINDOW - len(rows))
    return F.pad(window_inputs(image, inputs, rows, columns), missing), F.pad(seen, missing, value=UNLABELLED)


def _around(middle: int, length: int) -> range:
    """A window of one side that is within the image, as far as there is space."""
    start = max(0, min(middle - WINDOW // 2, length - WINDOW))
    return range(start, min(start + WINDOW, length))
