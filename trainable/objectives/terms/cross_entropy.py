"""Cross-entropy and the focal loss, per pixel.

PyTorch's functions take the weights of classes as tensors; creating those on a GPU at each step would wait for the GPU.
Here they are numbers.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-12  # keeps the gradient of a power below 1 finite


def binary_cross_entropy(logits: Tensor, truth: Tensor, weights: Sequence[float]) -> Tensor:
    """Of one logit for two classes, each with its weight."""
    background, foreground = weights
    negative = (1 - truth) * F.softplus(logits)
    return foreground * truth * F.softplus(-logits) + (negative if background == 1 else background * negative)


def class_cross_entropy(logs: Tensor, truth: Tensor, weights: Sequence[float]) -> Tensor:
    """Of log-probabilities (N, K, H, W), each class with its weight; 0 where ``truth``, one-hot, is 0 everywhere."""
    terms = [-weight * logs[:, k] * truth[:, k] for k, weight in enumerate(weights)]
    return sum(terms[1:], terms[0])


def focal(logs: Tensor, truth: Tensor, gamma: float, alpha: float) -> Tensor:
    """-alpha_t (1 - p_t)^gamma log p_t, with alpha for every class but the first and 1 - alpha for the first.

    Shapes are those of ``class_cross_entropy``; 0 where ``truth`` is 0 everywhere.
    """
    first, others = truth[:, 0], truth[:, 1:].sum(1)
    log = (logs * truth).sum(1)
    missed = (-torch.expm1(log)).clamp(min=TINY)
    return -((1 - alpha) * first + alpha * others) * missed**gamma * log


def log_probabilities(logits: Tensor) -> Tensor:
    """Of each class (N, K, H, W) in float32; one logit stands for two classes."""
    logits = logits.float()
    if logits.shape[1] == 1:
        return F.logsigmoid(torch.cat([-logits, logits], dim=1))
    return F.log_softmax(logits, dim=1)


def one_hot(classes: Tensor, count: int) -> Tensor:
    """(N, H, W) to (N, K, H, W); a value beyond the classes is 0 everywhere."""
    return torch.stack([classes == k for k in range(count)], dim=1).float()
