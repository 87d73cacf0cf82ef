"""CycleMix (Zhang and Zhuang, 2022): puzzles of pairs of images with a hole, and two kinds of consistency."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from trainable.config import Config
from trainable.data.packed_labels import SCRIBBLE_SHIFT, unpack
from trainable.data.scribbles import BACKGROUND_STROKE
from trainable.networks.scribble_network import ScribbleNetwork
from trainable.objectives.terms.cross_entropy import log_probabilities, one_hot
from trainable.objectives.terms.means import mean_where
from trainable.recipes.components import largest_components
from trainable.recipes.puzzle import cheapest_grids, mixing_energy
from trainable.recipes.recipe import Autocast, Objective, Recipe
from trainable.recipes.shares import BetaShares


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
        other = self._blocks_of_other(images, gradient)
        count, height, width = labels.shape
        hole = rotated_squares(count, height, width, config.occlusion_size, images.device)
        mixed = torch.where(other.unsqueeze(-1), images.roll(1, 0), images)
        mixed = torch.where(hole.unsqueeze(-1), self.network.mean.round().to(images.dtype), mixed)
        mixed_labels = occluded(torch.where(other, labels.roll(1, 0), labels), hole, config.occlusion)
        mixed_logits = self.predict(mixed, mixed_labels)
        loss = loss + self.objective(mixed_logits, mixed_labels, mixed)
        probabilities = log_probabilities(logits).exp()
        if config.global_consistency:
            expected = torch.where(other.unsqueeze(1), probabilities.roll(1, 0), probabilities)
            found = log_probabilities(mixed_logits).exp()
            loss = loss + config.global_consistency * disagreement(found, expected, (~hole).float())
        if config.local_consistency:
            loss = loss + config.local_consistency * disagreement(probabilities, tidied(probabilities.detach()), None)
        return loss

    @torch.no_grad()
    def _blocks_of_other(self, images: Tensor, gradient: Tensor) -> Tensor:
        """Where a mixed image shows the image before it, (B, H, W)."""
        config = self.config
        saliency = (gradient * self.network.std).square().mean(-1).sqrt()  # the network sees images over this
        own = (images.permute(0, 3, 1, 2).float() / 255, saliency)
        other = (own[0].roll(1, 0), saliency.roll(1, 0))
        weights = (config.mix_beta, config.mix_gamma, config.mix_eta)
        grids = cheapest_grids(mixing_energy(own, other, self.shares(len(images)), config.mix_blocks, weights))
        return F.interpolate(grids.unsqueeze(1), size=images.shape[1:3], mode="nearest").squeeze(1) > 0


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
