"""CycleMix (Zhang and Zhuang, 2022): puzzles of pairs of images with a hole, and two kinds of consistency."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trainable.config import Config
from trainable.data.packed_labels import SCRIBBLE_SHIFT, unpack
from trainable.data.scribbles import BACKGROUND_STROKE
from trainable.networks.scribble_network import ScribbleNetwork
from trainable.objectives.terms.cross_entropy import log_probabilities, one_hot
from trainable.objectives.terms.means import mean_where
from trainable.recipes.components import largest_components
from trainable.recipes.puzzle import block_of, cheapest_grids, mixing_energy, saliency_of_blocks
from trainable.recipes.recipe import Autocast, Objective, Recipe
from trainable.recipes.shares import BetaShares
from trainable.recipes.transport import pixels_of, transported


@dataclass(frozen=True)
class Puzzle:
    """Which pixels mixed images show: those of the image before where ``other`` (B, H, W), else of their own.

    ``pixels`` (B, H, W) are their numbers among all pixels of the batch, or None if none has moved within its image.
    """

    other: Tensor
    pixels: Tensor | None = None

    def mix(self, values: Tensor, channels: int | None = None) -> Tensor:
        """What the mixed images have of values of pixels, (B, H, W) or with an axis of ``channels``."""
        if self.pixels is None:
            other = self.other if channels is None else self.other.unsqueeze(channels)
            return torch.where(other, values.roll(1, 0), values)
        if channels is None:
            return values.flatten()[self.pixels]
        return values.movedim(channels, -1).flatten(0, 2)[self.pixels].movedim(-1, channels)


class Cyclemix(Recipe):
    """Every image is mixed with the one before it."""

    def __init__(self, network: ScribbleNetwork, config: Config, objective: Objective, autocast: Autocast) -> None:
        super().__init__(network, config, objective, autocast)
        self.shares = BetaShares(config.mix_alpha).to(network.mean.device)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        config = self.config
        seen = images.float().requires_grad_()
        logits = self.predict(seen, labels)
        loss = self.objective(logits, labels, images)
        (gradient,) = torch.autograd.grad(loss, seen, retain_graph=True)
        puzzle = self._puzzle(images, gradient)
        count, height, width = labels.shape
        hole = rotated_squares(count, height, width, config.occlusion_size, images.device)
        mixed = torch.where(hole.unsqueeze(-1), self.network.mean.round().to(images.dtype), puzzle.mix(images, -1))
        mixed_labels = occluded(puzzle.mix(labels), hole, config.occlusion)
        mixed_logits = self.predict(mixed, mixed_labels)
        loss = loss + self.objective(mixed_logits, mixed_labels, mixed)
        probabilities = log_probabilities(logits).exp()
        if config.global_consistency:
            expected = puzzle.mix(probabilities, 1)
            found = log_probabilities(mixed_logits).exp()
            loss = loss + config.global_consistency * disagreement(found, expected, (~hole).float())
        if config.local_consistency:
            loss = loss + config.local_consistency * disagreement(probabilities, tidied(probabilities.detach()), None)
        return loss

    @torch.no_grad()
    def _puzzle(self, images: Tensor, gradient: Tensor) -> Puzzle:
        config, (height, width) = self.config, images.shape[1:3]
        saliency = (gradient * self.network.std).square().mean(-1).sqrt()  # the network sees images over this
        own = (images.permute(0, 3, 1, 2).float() / 255, saliency)
        other = (own[0].roll(1, 0), saliency.roll(1, 0))
        weights = (config.mix_beta, config.mix_gamma, config.mix_eta)
        grids = cheapest_grids(mixing_energy(own, other, self.shares(len(images)), config.mix_blocks, weights))
        down, right = (block_of(config.mix_blocks, side, images.device) for side in (height, width))
        where = grids.index_select(1, down).index_select(2, right) > 0
        if config.mix_transport == "none":
            return Puzzle(where)
        salient = saliency_of_blocks(saliency, config.mix_blocks)
        pairs = torch.cat([salient, salient.roll(1, 0)]), torch.cat([1 - grids, grids])
        of_own, of_other = transported(*pairs, config.mix_transport_cost).chunk(2)
        pixels = pixels_of(torch.where(grids > 0, of_other, of_own), height, width)
        samples = (torch.arange(len(images), device=images.device).view(-1, 1, 1) - where.long()) % len(images)
        return Puzzle(where, samples * (height * width) + pixels)


def rotated_squares(count: int, height: int, width: int, size: float, device: torch.device) -> Tensor:
    """One square per image (N, H, W), at a random place and angle; its side is ``size`` of the shorter side."""
    across, down, turn = torch.rand(3, count, 1, 1, device=device).unbind()
    x = torch.arange(width, device=device) - across * width
    y = torch.arange(height, device=device).unsqueeze(1) - down * height
    cosine, sine = (2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()
    half = size * min(height, width) / 2
    return ((cosine * x + sine * y).abs() < half) & ((cosine * y - sine * x).abs() < half)


def occluded(labels: Tensor, hole: Tensor, becomes: str) -> Tensor:
    """Packed labels of scribbles alone; those in the hole become ``background`` or ``unlabelled``."""
    if becomes == "unlabelled":
        return labels.masked_fill(hole, 0)
    return labels.masked_fill(hole & (unpack(labels)[0] > 0), BACKGROUND_STROKE << SCRIBBLE_SHIFT)


def disagreement(one: Tensor, other: Tensor, where: Tensor | None) -> Tensor:
    """One minus the cosine between two predictions (N, K, H, W) of a pixel, averaged over the pixels ``where``."""
    # Many times faster on a CPU than torch's function.
    cosine = (one * other).sum(1) * (one.square().sum(1) * other.square().sum(1)).rsqrt()
    return mean_where(1 - cosine, where)


def tidied(probabilities: Tensor) -> Tensor:
    """The likeliest classes, one-hot; all but the largest component of each becomes the first class."""
    count = probabilities.shape[1]
    classes = probabilities.argmax(1)
    return one_hot(torch.where(largest_components(classes, count), classes, 0), count)
