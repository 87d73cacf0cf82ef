"""Segments images by a small network each, which is trained on the scribbles of its image alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from trainable.images.method import Probabilities, ScribbledImage
from trainable.images.regions import classes_present, without_a_choice
from trainable.images.small_networks.network_inputs import part_sizes, window_inputs

BATCH = 16  # the probabilities of so many large images fit into the memory
TILE = 512  # of the side of what is predicted at once; a multiple of every stride
CPU_NUMBERS, GPU_NUMBERS = 3 * 2**20, 2**28  # that the images of one program hold: a cache full, and a GiB


class NetworkConfig(Protocol):
    """The hyperparameters of small networks, see ``trainable.config.images``."""

    @property
    def inputs(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def kernel(self) -> int: ...
    @property
    def downscalings(self) -> int: ...
    @property
    def iterations(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def scribble_pixels(self) -> int: ...
    @property
    def beta(self) -> float: ...
    @property
    def penalised(self) -> str: ...


Train = Callable[[Sequence[nn.Module], Sequence[ScribbledImage], int, torch.device], None]


@dataclass
class NetworkMethod:
    """A method of ``trainable.images.method``.

    A class without a scribble in an image has probability 0 there. So an image with scribbles of one class is of that
    class throughout, and nothing is trained; without any scribble all classes are equally probable. A scribble of one
    pixel is learnt from like any other.
    """

    inputs: str
    build: Callable[[int, int], nn.Module]  # from the channels of the inputs and the number of classes
    train: Train  # networks of the same form, in place
    numbers: Callable[[ScribbledImage], int]  # that an image's training holds at once
    halo: int  # how far the network sees, a multiple of its stride

    def batch(self, device: torch.device) -> int:
        return BATCH

    def segment(self, images: Sequence[ScribbledImage], classes: int, device: torch.device) -> list[Probabilities]:
        networks = {
            number: self._initial(image, classes)
            for number, image in enumerate(images)
            if len(classes_present(image.scribble)) > 1
        }
        for group in self._groups(images, list(networks), device):
            self.train([networks[number] for number in group], [images[number] for number in group], classes, device)
        decided = [without_a_choice(image.scribble, classes) for image in images]
        return [
            self._predict(networks[number].to(device), image, classes, device) if alone is None else alone
            for number, (image, alone) in enumerate(zip(images, decided, strict=True))
        ]

    def _initial(self, image: ScribbledImage, classes: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(image.seed)
            return self.build(sum(part_sizes(image, self.inputs).values()), classes)

    def _groups(
        self, images: Sequence[ScribbledImage], numbers: list[int], device: torch.device
    ) -> Iterator[list[int]]:
        """Images to train in one program: of as many channels, of about as many scribbles, within the memory."""
        most = CPU_NUMBERS if device.type == "cpu" else GPU_NUMBERS
        form = {number: (images[number].image.shape[2], self.numbers(images[number])) for number in numbers}
        group: list[int] = []
        for number in sorted(numbers, key=lambda each: form[each]):
            channels, held = form[number]
            if group and (form[group[0]][0] != channels or held * (len(group) + 1) > most):
                yield group
                group = []
            group.append(number)
        if group:
            yield group

    @torch.no_grad()
    def _predict(self, network: nn.Module, image: ScribbledImage, classes: int, device: torch.device) -> Probabilities:
        height, width = image.scribble.shape
        known = classes_present(image.scribble)
        probabilities = np.zeros((classes, height, width), np.float32)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                rows = range(max(0, top - self.halo), min(height, top + TILE + self.halo))
                columns = range(max(0, left - self.halo), min(width, left + TILE + self.halo))
                logits = network(window_inputs(image, self.inputs, rows, columns)[None].to(device))[0, known]
                y, x = top - rows.start, left - columns.start
                tile = logits.softmax(0)[:, y : y + TILE, x : x + TILE].cpu().numpy()
                probabilities[known, top : top + TILE, left : left + TILE] = tile
        return probabilities
