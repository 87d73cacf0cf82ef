"""Trains a stack of convolutions on the scribbles of each of many images, in one program."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainable.images.method import ScribbledImage
from trainable.images.small_networks.network_inputs import (
    Positions,
    ScribbleSample,
    channels_of,
    inputs_at,
    sample_scribbles,
)
from trainable.images.small_networks.network_loss import impossible_logits, penalty
from trainable.images.small_networks.network_method import NetworkConfig
from trainable.images.small_networks.sites import Layer, around, gather, stack_layers

Weights = list[tuple[Tensor, Tensor]]  # of every layer, (images, inputs, outputs) and (images, 1, outputs)


def convolutions(channels: int, classes: int, depth: int, width: int, kernel: int) -> nn.Sequential:
    """``depth`` convolutions, each with a LeakyReLU, and a linear layer to a logit per class."""
    layers: list[nn.Module] = []
    for before, after in pairwise([channels] + depth * [width]):
        layers += [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, classes, 1))


def train_at_sites(
    networks: Sequence[nn.Sequential],
    images: Sequence[ScribbledImage],
    classes: int,
    device: torch.device,
    config: NetworkConfig,
) -> None:
    """Train the network of each image, which are alike, on its scribbles."""
    kernel = _convolutions_of(networks[0])[0].kernel_size[0]
    weights = _stack(networks, device)
    samples = [sample_scribbles(image, config.scribble_pixels) for image in images]
    positions = [_positions(s, image, kernel, len(weights) - 1) for s, image in zip(samples, images, strict=True)]
    layers = stack_layers(positions, [image.scribble.shape for image in images], kernel, device)
    seen = [inputs_at(image, config.inputs, *own[0].T) for image, own in zip(images, positions, strict=True)]
    inputs = F.pad(nn.utils.rnn.pad_sequence(seen, batch_first=True), (0, 0, 0, 1)).to(device)
    labels, shares = _targets(samples, device)
    impossible = impossible_logits(images, classes).mT.to(device)
    penalised = channels_of(images[0], config.inputs, config.penalised)
    patches = None if config.beta else gather(inputs, layers[0])
    if config.beta:
        inputs.requires_grad_()

    optimizer = torch.optim.Adam([tensor for pair in weights for tensor in pair], config.learning_rate, fused=True)
    for _ in range(config.iterations):
        logits = _forward(gather(inputs, layers[0]) if patches is None else patches, layers, weights) + impossible
        losses = F.cross_entropy(logits.flatten(0, 1), labels, reduction="none")
        loss = losses @ shares
        if config.beta:
            loss = loss + penalty(loss, inputs, config.beta, penalised, axis=2)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    _unstack(weights, networks)


def _forward(patches: Tensor, layers: list[Layer], weights: Weights) -> Tensor:
    """Logits (images, sites, classes) from the patches of the first layer."""
    *hidden, (factors, offsets) = weights
    rows = _hidden(patches, layers[0], *hidden[0])
    for layer, own in zip(layers[1:], hidden[1:], strict=True):
        rows = _hidden(gather(rows, layer), layer, *own)
    return torch.baddbmm(offsets, rows, factors)


def _hidden(patches: Tensor, layer: Layer, factors: Tensor, offsets: Tensor) -> Tensor:
    rows = F.leaky_relu(torch.baddbmm(offsets, patches, factors))
    return rows if layer.links is None else rows * layer.valid


def _positions(sample: ScribbleSample, image: ScribbledImage, kernel: int, depth: int) -> list[Positions]:
    """The positions that each layer is needed at, of the inputs first."""
    needed = [sample.positions]
    for _ in range(depth):
        needed.append(needed[-1] if kernel == 1 else around(needed[-1], image.scribble.shape, kernel))
    return needed[::-1]


def _targets(samples: list[ScribbleSample], device: torch.device) -> tuple[Tensor, Tensor]:
    """Labels and weights of all sites of the last layer; those that fill up weigh nothing."""
    most = max(len(sample.labels) for sample in samples) + 1
    labels, shares = torch.zeros(len(samples), most, dtype=torch.long), torch.zeros(len(samples), most)
    for number, sample in enumerate(samples):
        labels[number, : len(sample.labels)] = torch.from_numpy(sample.labels)
        shares[number, : len(sample.labels)] = torch.from_numpy(sample.weights)
    return labels.flatten().to(device), shares.flatten().to(device)


def _stack(networks: Sequence[nn.Sequential], device: torch.device) -> Weights:
    def parameter(tensors: list[Tensor]) -> Tensor:
        return torch.stack(tensors).detach().to(device).requires_grad_()

    return [
        (
            parameter([layer.weight.permute(2, 3, 1, 0).flatten(0, 2) for layer in layers]),
            parameter([layer.bias[None] for layer in layers if layer.bias is not None]),
        )
        for layers in zip(*map(_convolutions_of, networks), strict=True)
    ]


@torch.no_grad()
def _unstack(weights: Weights, networks: Sequence[nn.Sequential]) -> None:
    for number, network in enumerate(networks):
        for layer, (factors, offsets) in zip(_convolutions_of(network), weights, strict=True):
            outputs, inputs, height, width = layer.weight.shape
            layer.weight.copy_(factors[number].view(height, width, inputs, outputs).permute(3, 2, 0, 1))
            if layer.bias is not None:
                layer.bias.copy_(offsets[number, 0])


def _convolutions_of(network: nn.Sequential) -> list[nn.Conv2d]:
    return [layer for layer in network if isinstance(layer, nn.Conv2d)]
