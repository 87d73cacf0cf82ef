"""The loss on scribbles alone: cross-entropy on scribbled pixels, and weighted terms for the others."""

from collections.abc import Sequence

from torch import Tensor

from trainable.config import Config
from trainable.objectives.class_weights import cross_entropy_weights
from trainable.objectives.terms.cross_entropy import (
    binary_cross_entropy,
    class_cross_entropy,
    log_probabilities,
    one_hot,
)
from trainable.objectives.terms.gated_crf import gated_crf
from trainable.objectives.terms.means import mean_of_samples
from trainable.objectives.terms.regularisers import entropy, intensity_variance, total_variation


def scribble_loss(
    logits: Tensor, scribble: Tensor, images: Tensor | None, config: Config, class_weights: Sequence[float] | None
) -> Tensor:
    """``scribble`` is (N, H, W) with 0 where there is none and else the class plus 1, ``images`` (N, H, W, C) bytes.

    ``class_weights`` are those that training images decide, for ``objective: wpce``.
    """
    weights = class_weights or cross_entropy_weights(config, max(2, logits.shape[1]))
    loss = partial_cross_entropy(logits, scribble, weights)
    if not any((config.lambda_crf, config.lambda_entropy, config.lambda_tv, config.lambda_ms)):
        return loss
    logs = log_probabilities(logits)
    probabilities = logs.exp()
    if config.lambda_crf:
        window = (config.crf_radius, config.crf_sigma_xy, config.crf_sigma_intensity)
        loss = loss + config.lambda_crf * gated_crf(probabilities, _intensity(images), *window)
    if config.lambda_entropy:
        loss = loss + config.lambda_entropy * entropy(logs, scribble == 0)
    if config.lambda_tv:
        loss = loss + config.lambda_tv * total_variation(probabilities)
    if config.lambda_ms:
        loss = loss + config.lambda_ms * intensity_variance(probabilities, _intensity(images))
    return loss


def partial_cross_entropy(logits: Tensor, scribble: Tensor, weights: Sequence[float]) -> Tensor:
    """Cross-entropy on scribbled pixels: the mean over those of each sample, then over samples that have any."""
    logits = logits.float()
    labelled = (scribble > 0).float()
    if logits.shape[1] == 1:
        values = binary_cross_entropy(logits[:, 0], (scribble > 1).float(), weights)
    else:
        truth = one_hot(scribble - labelled.to(scribble.dtype), logits.shape[1]) * labelled.unsqueeze(1)
        values = class_cross_entropy(log_probabilities(logits), truth, weights)
    return mean_of_samples(values, labelled)


def _intensity(images: Tensor | None) -> Tensor:
    """(N, C, H, W) in 0..1, as contiguous channels."""
    if images is None:
        raise ValueError("lambda_crf and lambda_ms look at the images: pass them to the loss")
    return images.permute(0, 3, 1, 2).float().contiguous() / 255
