"""CutMix (Yun et al., 2019): a rectangle of every image is replaced by that of another, labels included."""

import torch
from torch import Tensor

from trainable.config import Config
from trainable.networks.scribble_network import ScribbleNetwork
from trainable.recipes.recipe import Autocast, Objective, Recipe
from trainable.recipes.shares import BetaShares


class Cutmix(Recipe):
    """Every image has a rectangle of its own, which shows the image before it."""

    def __init__(self, network: ScribbleNetwork, config: Config, objective: Objective, autocast: Autocast) -> None:
        super().__init__(network, config, objective, autocast)
        self.shares = BetaShares(config.mix_alpha).to(network.mean.device)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        inside = rectangles(self.shares(len(images)), *labels.shape[1:])
        images = torch.where(inside.unsqueeze(-1), images.roll(1, 0), images)
        labels = torch.where(inside, labels.roll(1, 0), labels)
        return self.objective(self.predict(images, labels), labels, images)


def rectangles(shares: Tensor, height: int, width: int) -> Tensor:
    """Random rectangles of the image's proportions, (B, H, W); the shares (B,) are those of the area outside."""
    side = (1 - shares).sqrt()
    device = shares.device
    within = [_interval(side * length, torch.arange(length, device=device), length) for length in (height, width)]
    return within[0].unsqueeze(2) & within[1].unsqueeze(1)


def _interval(lengths: Tensor, places: Tensor, limit: int) -> Tensor:
    """Whether each place is in a random interval of this length, (B, limit)."""
    start = (torch.rand_like(lengths) * (limit - lengths)).unsqueeze(1)
    return (places >= start) & (places < start + lengths.unsqueeze(1))
