"""A dense conditional random field (Kraehenbuehl and Koltun 2011), by mean field on CPU or GPU.

Every pixel is pulled towards the classes of the others: of those near it (smoothness), and of those that are near and
have its colour (appearance). Both kernels are Gaussian and normalised symmetrically, D^-1/2 K D^-1/2 with the row sums
D, so a weight is about what all neighbours together may add to a logit. Appearance is filtered on a permutohedral
lattice. A pixel counts among its own neighbours, as in the authors' program.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from analysis.refinement.steps.lattice import Lattice
from analysis.refinement.steps.step import Maps, MapStep, Scene

NEAR = 0.005  # bandwidth of smoothness, as a share of the diagonal: 3 pixels at 500x375
REACH = 4.0  # bandwidths after which the kernel of smoothness is cut off
CERTAIN = 1e-4  # no probability is taken to be smaller
MOST_PIXELS = 1_500_000  # of larger images, the correction is computed at a smaller size


@dataclass(frozen=True)
class DenseCrf(MapStep):
    """``position`` is a share of the image's diagonal, ``colour`` in 0..255; the weights are in logits."""

    name: ClassVar[str] = "crf"
    appearance: float
    position: float
    colour: float
    smoothness: float
    iterations: int = 5

    def apply(self, maps: Maps, scene: Scene) -> Maps:
        return next(self.apply_each([self], maps, scene))

    @classmethod
    def apply_each(cls, steps: Sequence[Self], maps: Maps, scene: Scene) -> Iterator[Maps]:
        """Settings that differ in their weights only share a lattice, and go through it together."""
        alike: dict[tuple[float, ...], list[int]] = defaultdict(list)
        for number, step in enumerate(steps):
            alike[step.position, step.colour, step.iterations].append(number)
        results: dict[int, Tensor] = {}
        whole = torch.tensor(maps, device=scene.device)
        image = torch.tensor(scene.image, device=scene.device, dtype=torch.float32)
        scale = min(1.0, math.sqrt(MOST_PIXELS / (maps.shape[1] * maps.shape[2])))
        small, seen = _resized(whole, scale), _resized(image.permute(2, 0, 1), scale).permute(1, 2, 0)
        for (position, colour, iterations), numbers in alike.items():
            weights = [(steps[number].appearance, steps[number].smoothness) for number in numbers]
            field = MeanField(small, seen, position, colour)
            for number, found in zip(numbers, field.run(weights, int(iterations)), strict=True):
                results[number] = found
        for number in range(len(steps)):
            found = results.pop(number)
            if scale < 1:  # what it changed is added at full size, so that fine structures stay
                change = (found.clamp_min(CERTAIN) / small.clamp_min(CERTAIN)).log()
                change = F.interpolate(change[None], size=maps.shape[1:], mode="bilinear", align_corners=False)[0]
                found = (whole.clamp_min(CERTAIN).log() + change).softmax(dim=0)
            yield found.cpu().numpy()


class MeanField:
    """The kernels of one image, for probabilities (K, H, W) and an image (H, W, C)."""

    def __init__(self, maps: Tensor, image: Tensor, position: float, colour: float) -> None:
        self.maps = maps
        height, width = maps.shape[1:]
        diagonal = math.hypot(height, width)
        down, across = torch.meshgrid(
            torch.arange(height, device=maps.device), torch.arange(width, device=maps.device), indexing="ij"
        )
        places = torch.stack([across, down], dim=-1) / max(position * diagonal, 1e-6)
        self.lattice = Lattice(torch.cat([places, image / colour], dim=-1).flatten(0, 1))
        bandwidth = max(NEAR * diagonal, 0.5)
        reach = math.ceil(REACH * bandwidth)
        line = torch.arange(-reach, reach + 1, device=maps.device)
        self.line = torch.exp(-0.5 * (line / bandwidth) ** 2)
        ones = torch.ones(1, height, width, device=maps.device)
        self.by_colour, self.by_place = (work(ones).clamp_min(1e-12).rsqrt() for work in (self._alike, self._near))

    def run(self, weights: Sequence[tuple[float, float]], iterations: int) -> Tensor:
        """(W, K, H, W): the probabilities after that many updates, for each pair of appearance and smoothness.

        Only the messages about K - 1 classes are filtered; those about all classes together never change.
        """
        logits = self.maps.clamp(min=CERTAIN).log()
        appearance, smoothness = (
            torch.tensor(each, device=logits.device, dtype=torch.float32).view(-1, 1, 1, 1)
            for each in zip(*weights, strict=True)
        )
        ones = torch.ones_like(self.maps[:1])
        all_alike, all_near = self._message(ones, True), self._message(ones, False)
        found = self.maps.expand(len(weights), *self.maps.shape)
        for _ in range(iterations):
            some = found[:, 1:].flatten(0, 1)
            alike, near = (self._message(some, kind).view_as(found[:, 1:]) for kind in (True, False))
            pull = appearance * alike + smoothness * near
            first = appearance * all_alike + smoothness * all_near - pull.sum(dim=1, keepdim=True)
            found = (logits + torch.cat([first, pull], dim=1)).softmax(dim=1)
        return found

    def _message(self, values: Tensor, by_colour: bool) -> Tensor:
        norm, work = (self.by_colour, self._alike) if by_colour else (self.by_place, self._near)
        return work(values * norm) * norm

    def _alike(self, values: Tensor) -> Tensor:
        """(C, H, W) summed over pixels that are near and of a similar colour."""
        return self.lattice.filter(values.flatten(1).T.contiguous()).T.reshape(values.shape)

    def _near(self, values: Tensor) -> Tensor:
        """(C, H, W) summed over pixels that are near."""
        reach = len(self.line) // 2
        down = F.conv2d(values[:, None], self.line.view(1, 1, -1, 1), padding=(reach, 0))
        return F.conv2d(down, self.line.view(1, 1, 1, -1), padding=(0, reach))[:, 0]


def _resized(maps: Tensor, scale: float) -> Tensor:
    """(C, H, W) at a smaller scale."""
    if scale >= 1:
        return maps
    size = [max(1, round(scale * side)) for side in maps.shape[1:]]
    return F.interpolate(maps[None], size=size, mode="area")[0]
