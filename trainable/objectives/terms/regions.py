"""Region terms: how badly a soft mask overlaps the true one, per sample and channel."""

from collections.abc import Callable

from torch import Tensor

# Much smaller than a pixel: it only matters if prediction and truth are both empty (a loss of 0).
EPSILON = 1e-6

RegionLoss = Callable[[Tensor, Tensor], Tensor]


def dice(probabilities: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, per sample and channel."""
    overlap, predicted, true = _sums(probabilities, truth)
    return 1 - (2 * overlap + EPSILON) / (predicted + true + EPSILON)


def iou(probabilities: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft intersection over union, per sample and channel."""
    overlap, predicted, true = _sums(probabilities, truth)
    return 1 - (overlap + EPSILON) / (predicted + true - overlap + EPSILON)


def tversky(probabilities: Tensor, truth: Tensor, alpha: float = 0.3, beta: float = 0.7) -> Tensor:
    """One minus the soft Tversky index: alpha weights false positives, beta false negatives; halves give Dice."""
    overlap, predicted, true = _sums(probabilities, truth)
    wrong = alpha * (predicted - overlap) + beta * (true - overlap)
    return 1 - (overlap + EPSILON) / (overlap + wrong + EPSILON)


REGION_LOSSES: dict[str, RegionLoss] = {"dice": dice, "iou": iou, "tversky": tversky}


def _sums(probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sums over the pixels of the overlap, of the prediction and of the truth."""
    probabilities, truth = probabilities.float().flatten(-2), truth.float().flatten(-2)
    return (probabilities * truth).sum(-1), probabilities.sum(-1), truth.sum(-1)
