"""Terms that need no label: entropy, total variation and the variance of intensity within classes."""

import math

import torch
from torch import Tensor

from trainable.objectives.terms.means import mean_of_samples


def entropy(logs: Tensor, where: Tensor) -> Tensor:
    """The entropy of log-probabilities (N, K, H, W) over log K, averaged over the pixels ``where`` (N, H, W)."""
    values = -(logs.exp() * logs).sum(1) / math.log(logs.shape[1])
    return mean_of_samples(values, where)


def total_variation(probabilities: Tensor) -> Tensor:
    """The length of the outlines per pixel, in horizontal and vertical steps: half the sum of all differences."""
    down = (probabilities[..., 1:, :] - probabilities[..., :-1, :]).abs().sum()
    right = (probabilities[..., 1:] - probabilities[..., :-1]).abs().sum()
    samples, _, height, width = probabilities.shape
    return (down + right) / (2 * samples * height * width)


def intensity_variance(probabilities: Tensor, intensity: Tensor) -> Tensor:
    """The region term of Mumford and Shah: p_k (I - m_k)^2 per pixel, summed over the classes k.

    m_k is the mean of ``intensity`` (N, C, H, W) in class k of a sample, weighted by ``probabilities`` (N, K, H, W).
    Channels are averaged.
    """
    intensity = intensity.unsqueeze(1)
    with torch.no_grad():  # m_k is where the sum of squares is smallest, so nothing changes with it
        shares = probabilities.unsqueeze(2)
        mass = shares.sum((-2, -1), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        means = (shares * intensity).sum((-2, -1), keepdim=True) / mass
        squares = (intensity - means).square().mean(2)
    return (probabilities * squares).sum(1).mean()
