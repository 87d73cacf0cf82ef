"""The training loss: a soft region term per sample, and cross-entropy weighted towards foreground.

Losses are computed in float32 at any network precision: sums over 170,000 pixels are too large for bf16. Nothing here
waits for the device: weights are numbers or comparisons, never tensors that are made from lists.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from trainable.config import Config
from trainable.data.dataset import IGNORED
from trainable.data.decoded_images import SCRIBBLES
from trainable.data.packed_labels import unpack

# Much smaller than a pixel: it only matters if prediction and truth are both empty (a loss of 0).
EPSILON = 1e-6

RegionLoss = Callable[[Tensor, Tensor], Tensor]


def dice(probabilities: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, per sample and channel."""
    overlap, total = _sums(probabilities, truth)
    return 1 - (2 * overlap + EPSILON) / (total + EPSILON)


def iou(probabilities: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft intersection over union, per sample and channel."""
    overlap, total = _sums(probabilities, truth)
    return 1 - (overlap + EPSILON) / (total - overlap + EPSILON)


REGION_LOSSES: dict[str, RegionLoss] = {"dice": dice, "iou": iou}


def training_loss(logits: Tensor, labels: Tensor, config: Config, ignoring: bool = False) -> Tensor:
    """The loss of logits (N, C, H, W) and packed labels (N, H, W), averaged over the batch.

    One channel of logits stands for two classes. ``ignoring``: masks may have pixels that count for nothing.
    """
    scribble, mask = unpack(labels)
    if config.supervision == SCRIBBLES:
        return partial_cross_entropy(logits, scribble, config)
    if logits.shape[1] > 1:
        return class_loss(logits, mask, config)
    known = (mask != IGNORED).unsqueeze(1) if ignoring else None
    return segmentation_loss(logits, mask.unsqueeze(1), config, known)


def segmentation_loss(logits: Tensor, truth: Tensor, config: Config, known: Tensor | None = None) -> Tensor:
    """Of two classes: lambda_region * region + lambda_bce * BCE; tensors are (N, 1, H, W), ``known`` too."""
    logits, truth = logits.float(), truth.float()
    probabilities = logits.sigmoid()
    if known is not None:
        probabilities, truth = probabilities * known, truth * known
    region = REGION_LOSSES[config.loss](probabilities, truth).mean()
    if known is None:
        cross = binary_cross_entropy(logits, truth, config).mean()
    else:
        cross = _mean_where(binary_cross_entropy(logits, truth, config), known)
    return config.lambda_region * region + config.lambda_bce * cross


def class_loss(logits: Tensor, mask: Tensor, config: Config) -> Tensor:
    """Of several classes: the region term averaged over all classes but the first, and cross-entropy per pixel.

    ``logits`` is (N, K, H, W), ``mask`` (N, H, W) with the class of each pixel; ignored pixels are in neither term.
    """
    logs = F.log_softmax(logits.float(), dim=1)
    truth = _one_hot(mask, logits.shape[1])
    known = truth.sum(1, keepdim=True)
    region = REGION_LOSSES[config.loss]((logs.exp() * known)[:, 1:], truth[:, 1:]).mean()
    cross = _mean_where(_weighted_cross_entropy(logs, truth, config), known[:, 0])
    return config.lambda_region * region + config.lambda_bce * cross


def partial_cross_entropy(logits: Tensor, scribble: Tensor, config: Config) -> Tensor:
    """Cross-entropy on scribbled pixels: the mean over those of each sample, then over samples that have any.

    ``scribble`` is (N, H, W) with 0 where there is none and else the class plus 1.
    """
    logits = logits.float()
    labelled = (scribble > 0).float()
    if logits.shape[1] == 1:
        values = binary_cross_entropy(logits[:, 0], (scribble > 1).float(), config) * labelled
    else:
        truth = _one_hot(scribble - labelled.to(scribble.dtype), logits.shape[1]) * labelled.unsqueeze(1)
        values = _weighted_cross_entropy(F.log_softmax(logits, dim=1), truth, config)
    pixels = labelled.flatten(1).sum(1)
    means = values.flatten(1).sum(1) / pixels.clamp(min=1)
    return means.sum() / (pixels > 0).sum().clamp(min=1)


def binary_cross_entropy(logits: Tensor, truth: Tensor, config: Config) -> Tensor:
    """Binary cross-entropy per pixel, each class with its weight.

    PyTorch's function takes the weight as a tensor; creating one on a GPU at each step would wait for the GPU.
    """
    background, foreground = (1.0, config.pc) if config.class_weights is None else config.class_weights
    negative = (1 - truth) * F.softplus(logits)
    return foreground * truth * F.softplus(-logits) + (negative if background == 1 else background * negative)


def _weighted_cross_entropy(logs: Tensor, truth: Tensor, config: Config) -> Tensor:
    """Cross-entropy per pixel, each class with its weight; 0 where ``truth``, one-hot, is 0 everywhere."""
    weights = config.class_weights or (1.0, *[config.pc] * (logs.shape[1] - 1))
    terms = [-weight * logs[:, k] * truth[:, k] for k, weight in enumerate(weights)]
    return sum(terms[1:], terms[0])


def _one_hot(classes: Tensor, count: int) -> Tensor:
    """(N, H, W) to (N, K, H, W); a value beyond the classes is 0 everywhere."""
    return torch.stack([classes == k for k in range(count)], dim=1).float()


def _mean_where(values: Tensor, known: Tensor) -> Tensor:
    return (values * known).sum() / known.sum().clamp(min=1)


def _sums(probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    probabilities, truth = probabilities.float().flatten(-2), truth.float().flatten(-2)
    return (probabilities * truth).sum(-1), probabilities.sum(-1) + truth.sum(-1)
