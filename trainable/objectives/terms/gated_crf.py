"""The gated CRF term: neighbours that look alike should belong to one class."""

from collections.abc import Iterator

import torch
from torch import Tensor


def gated_crf(probabilities: Tensor, intensity: Tensor, radius: int, sigma_xy: float, sigma_intensity: float) -> Tensor:
    """The sum over neighbours j of k_ij (1 - sum over classes of p_i p_j), averaged over all pixels i.

    ``probabilities`` (N, K, H, W) add up to 1 over the classes. k_ij is a Gaussian in position and in ``intensity``
    (N, C, H, W). Neighbours are the other pixels of a window of 2 * radius + 1; pixels outside the image are none.
    """
    with torch.no_grad():
        sums = _neighbour_sums(probabilities, intensity, radius, sigma_xy, sigma_intensity)
    # The energy is (1 - p) * sums. Since k is symmetric, its gradient is -2 * sums but for a constant that the softmax
    # removes, so no kernel has to be kept for the backward pass. (Second derivatives are not those of the energy.)
    energy = (1 - 2 * probabilities + probabilities.detach()) * sums
    return energy.sum(1).mean()


def _neighbour_sums(
    probabilities: Tensor, intensity: Tensor, radius: int, sigma_xy: float, sigma_intensity: float
) -> Tensor:
    """For each pixel i the sum over its neighbours j of k_ij p_j; each pair's kernel is computed once."""
    probabilities = probabilities.contiguous()
    intensity = intensity / (2**0.5 * sigma_intensity)
    sums = torch.zeros_like(probabilities)
    for here, there, squared in _pairs(radius, *probabilities.shape[-2:]):
        differences = (intensity[here] - intensity[there]).square_().sum(1, keepdim=True)
        kernel = torch.rsub(differences, -squared / (2 * sigma_xy**2)).exp_()
        sums[here].addcmul_(kernel, probabilities[there])
        sums[there].addcmul_(kernel, probabilities[here])
    return sums


def _pairs(radius: int, height: int, width: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], int]]:
    """Two views of an image for every offset in half of the window, and the offset's squared length."""
    every = (slice(None), slice(None))
    for y in range(min(radius, height - 1) + 1):
        for x in range(-min(radius, width - 1), min(radius, width - 1) + 1):
            if y > 0 or x > 0:
                here = (*every, slice(0, height - y), slice(max(0, -x), width - max(0, x)))
                there = (*every, slice(y, height), slice(max(0, x), width - max(0, -x)))
                yield here, there, x * x + y * y
