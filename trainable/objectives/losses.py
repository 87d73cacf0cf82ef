"""The training loss: a soft region term per sample, and binary cross-entropy weighted towards foreground.

Losses are computed in float32 at any network precision: sums over 170,000 pixels are too large for bf16.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from trainable.config import Config

# Much smaller than a pixel: it only matters if prediction and truth are both empty (a loss of 0).
EPSILON = 1e-6

RegionLoss = Callable[[Tensor, Tensor], Tensor]


def dice(probabilities: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, per sample."""
    overlap, total = _sums(probabilities, truth)
    return 1 - (2 * overlap + EPSILON) / (total + EPSILON)


def iou(probabilities: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft intersection over union, per sample."""
    overlap, total = _sums(probabilities, truth)
    return 1 - (overlap + EPSILON) / (total - overlap + EPSILON)


REGION_LOSSES: dict[str, RegionLoss] = {"dice": dice, "iou": iou}


def segmentation_loss(logits: Tensor, truth: Tensor, config: Config) -> Tensor:
    """lambda_region * region + lambda_bce * BCE, averaged over the batch; tensors are (N, 1, H, W)."""
    logits, truth = logits.float(), truth.float()
    region = REGION_LOSSES[config.loss](logits.sigmoid(), truth).mean()
    return config.lambda_region * region + config.lambda_bce * cross_entropy(logits, truth, config.pc)


def cross_entropy(logits: Tensor, truth: Tensor, pc: float) -> Tensor:
    """Binary cross-entropy per pixel with foreground weighted by ``pc``.

    PyTorch's function takes the weight as a tensor; creating one on a GPU at each step would wait for the GPU.
    """
    return (pc * truth * F.softplus(-logits) + (1 - truth) * F.softplus(logits)).mean()


def _sums(probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    probabilities, truth = probabilities.float().flatten(1), truth.float().flatten(1)
    return (probabilities * truth).sum(1), probabilities.sum(1) + truth.sum(1)
