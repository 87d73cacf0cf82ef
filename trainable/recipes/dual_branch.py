"""Two decoders on one encoder that learn from a mixture of their predictions (Luo et al., 2022, DMPLS)."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainable.config import Config
from trainable.data.packed_labels import unpack
from trainable.networks.scribble_network import ScribbleNetwork, encoder_of
from trainable.objectives.terms.cross_entropy import log_probabilities, one_hot
from trainable.objectives.terms.regions import dice
from trainable.recipes.recipe import Autocast, Objective, Recipe


class Branches(nn.Module):
    """A core with a second decoder behind dropout of features; returns the logits of both, one after the other."""

    def __init__(self, core: Any, dropout: float) -> None:
        super().__init__()
        self.encoder, self.dropout = core.encoder, dropout
        self.first, self.second = decoder_of(core), decoder_of(copy.deepcopy(core))

    def forward(self, channels: Tensor) -> Tensor:
        features = self.encoder(channels)
        return torch.cat([self.first(features), self.second([F.dropout(f, self.dropout) for f in features])], dim=1)


class DualBranch(Recipe):
    """The network keeps the first decoder; the second one is only there for training."""

    def __init__(self, network: ScribbleNetwork, config: Config, objective: Objective, autocast: Autocast) -> None:
        super().__init__(network, config, objective, autocast)
        encoder_of(network, f"recipe = dual_branch, architecture = {config.architecture}")
        self.both = network.with_core(Branches(network.core, config.branch_dropout))

    def compiled(self) -> list[nn.Module]:
        return [self.both]

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        with self.autocast():
            logits = self.both(images, unpack(labels)[0])
        first, second = logits.chunk(2, dim=1)
        supervised = (self.objective(first, labels, images) + self.objective(second, labels, images)) / 2
        one, other = log_probabilities(first).exp(), log_probabilities(second).exp()
        truth = pseudo_labels(one, other, torch.rand((), device=images.device))
        known = self.known(labels)
        agreement = (batch_dice(one, truth, known) + batch_dice(other, truth, known)) / 2
        return supervised + self.config.pseudo_weight * agreement


def decoder_of(core: Any) -> Any:
    """The core without its encoder, for the encoder's features; everything else is shared with the core."""
    decoder = copy.copy(core)
    decoder._modules = {**core._modules, "encoder": nn.Identity()}
    decoder.requires_divisible_input_shape = False  # smp's networks would look at the shape of their input
    return decoder


def pseudo_labels(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """The likelier class in a mixture of two predictions (N, K, H, W), one-hot and without a gradient."""
    mixture = share * one.detach() + (1 - share) * other.detach()
    return one_hot(mixture.argmax(1), mixture.shape[1])


def batch_dice(probabilities: Tensor, truth: Tensor, known: Tensor | None) -> Tensor:
    """The Dice loss of a whole batch, averaged over classes."""
    if known is not None:
        probabilities, truth = probabilities * known, truth * known
    # Classes first: per sample, a class that is absent would be punished wherever it is not yet improbable.
    probabilities, truth = (each.transpose(0, 1).flatten(1).unsqueeze(-1) for each in (probabilities, truth))
    return dice(probabilities, truth).mean()
