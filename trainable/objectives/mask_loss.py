"""The loss on dense masks: a region term, cross-entropy and the focal loss, each with its weight."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from trainable.config import Config, own_hyperparameters
from trainable.objectives.class_weights import cross_entropy_weights
from trainable.objectives.terms.cross_entropy import (
    binary_cross_entropy,
    class_cross_entropy,
    focal,
    log_probabilities,
    one_hot,
)
from trainable.objectives.terms.means import mean_where
from trainable.objectives.terms.regions import REGION_LOSSES, RegionLoss, dice, tversky

Term = Callable[[], Tensor]


def segmentation_loss(logits: Tensor, truth: Tensor, config: Config, known: Tensor | None = None) -> Tensor:
    """Of two classes; tensors are (N, 1, H, W). Pixels that are not ``known`` are in no term."""
    logits, truth = logits.float(), truth.float()
    if known is not None:
        truth = truth * known

    def region() -> Tensor:
        probabilities = logits.sigmoid()
        return region_loss(config)(probabilities if known is None else probabilities * known, truth).mean()

    def cross() -> Tensor:
        return mean_where(binary_cross_entropy(logits, truth, cross_entropy_weights(config, 2)), known)

    def focused() -> Tensor:
        pair = torch.cat([1 - truth, truth], dim=1)
        values = focal(log_probabilities(logits), pair, config.focal_gamma, config.focal_alpha)
        return mean_where(values, None if known is None else known[:, 0])

    return _weighted_sum(config, region, cross, focused)


def class_loss(logits: Tensor, mask: Tensor, config: Config) -> Tensor:
    """Of several classes; the region term is averaged over all classes but the first.

    ``logits`` is (N, K, H, W), ``mask`` (N, H, W) with the class of each pixel; ignored pixels are in no term.
    """
    logs = log_probabilities(logits)
    truth = one_hot(mask, logits.shape[1])
    known = truth.sum(1, keepdim=True)

    def region() -> Tensor:
        return region_loss(config)((logs.exp() * known)[:, 1:], truth[:, 1:]).mean()

    def cross() -> Tensor:
        values = class_cross_entropy(logs, truth, cross_entropy_weights(config, logits.shape[1]))
        return mean_where(values, known[:, 0])

    def focused() -> Tensor:
        return mean_where(focal(logs, truth, config.focal_gamma, config.focal_alpha), known[:, 0])

    return _weighted_sum(config, region, cross, focused)


def region_loss(config: Config) -> RegionLoss:
    """The region term that a config names, with its hyperparameters; that of a preset is Dice."""
    if config.loss in config.parts.losses:
        return partial(config.parts.losses[config.loss], **own_hyperparameters(config, "loss"))
    if config.loss == "tversky":
        return partial(tversky, alpha=config.tversky_alpha, beta=config.tversky_beta)
    return REGION_LOSSES.get(config.loss, dice)


def _weighted_sum(config: Config, region: Term, cross: Term, focused: Term) -> Tensor:
    """Terms of weight 0 are not computed, unless all of them are 0."""
    weights = (*_weights(config), config.lambda_focal)
    weighted = [(weight, term) for weight, term in zip(weights, (region, cross, focused), strict=True) if weight]
    values = [weight * term() for weight, term in weighted or [(0.0, cross)]]
    return sum(values[1:], values[0])


def _weights(config: Config) -> tuple[float, float]:
    """Of the region term and of cross-entropy."""
    if config.loss == "dice+bce":
        return 1 - config.alpha, config.alpha
    return (0.0, 1.0) if config.loss == "ce" else (config.lambda_region, config.lambda_bce)
