"""Which blocks of a grid a mixed image takes from which of two images (Puzzle Mix, Kim et al., 2020).

A block costs the saliency of the image that it does not show. Blocks beside each other cost more if they are of two
images, and more where the seam between them shows. The cheapest grid is found exactly, row by row, by dynamic
programming over all 2^n rows of n blocks, for a whole batch at once.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SEAM = 4  # places per side of a block at which seams are measured
LEAST_SHARE = 1e-8
SCALE = 16  # beta is divided by this and by the blocks per side, as in Puzzle Mix


@dataclass(frozen=True)
class Energy:
    """The cost of grids of z = 0 (a block of the first image) and 1 (of the second), for a batch of pairs.

    ``single`` (B, n, n) is what z = 1 costs more than z = 0. ``down`` (B, 2, 2, n - 1, n) and ``right``
    (B, 2, 2, n, n - 1) are the costs of two blocks one below or beside the other, by the z of both.
    """

    single: Tensor
    down: Tensor
    right: Tensor


def mixing_energy(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], share: Tensor, blocks: int, weights: tuple[float, ...]
) -> Energy:
    """The energy of pairs, each an intensity (B, C, H, W) in 0..1 and a saliency (B, H, W).

    ``share`` (B) is about how much of the first image is wanted, ``weights`` are beta, gamma and eta.
    """
    beta, gamma, eta = weights
    beta = beta / (blocks * SCALE)
    one, other = (saliency_of_blocks(saliency, blocks) for _, saliency in (first, second))
    share = share.clamp(LEAST_SHARE, 1 - LEAST_SHARE).view(-1, 1, 1)
    wanted = eta / blocks**2 * (share.log() - (1 - share).log())
    small = [F.adaptive_avg_pool2d(intensity, SEAM * blocks) for intensity, _ in (first, second)]
    turned = [each.transpose(-2, -1) for each in small]
    down, right = _seams(small), _seams(turned).transpose(-2, -1)
    apart = 1 - torch.eye(2, device=share.device).view(1, 2, 2, 1, 1)
    return Energy(one - other + wanted, beta * (apart + gamma * down), beta * (apart + gamma * right))


def cheapest_grids(energy: Energy) -> Tensor:
    """The z of least energy, (B, n, n)."""
    single, coupled_down, coupled_right = _as_polynomial(energy)
    blocks, device = single.shape[-1], single.device
    bits = torch.arange(blocks, device=device)
    rows = (torch.arange(2**blocks, device=device).unsqueeze(1) >> bits & 1).float()
    costs = single @ rows.T + coupled_right @ (rows[:, :-1] * rows[:, 1:]).T  # of every row in every place
    below = costs[:, -1]  # the least cost of a place and all below it, by its row
    choices: list[Tensor] = []
    for place in range(blocks - 2, -1, -1):
        coupling = (rows * coupled_down[:, place].unsqueeze(1)) @ rows.T
        least, choice = (coupling + below.unsqueeze(1)).min(2)
        choices.append(choice)
        below = costs[:, place] + least
    chosen = [below.argmin(1, keepdim=True)]
    for choice in reversed(choices):
        chosen.append(choice.gather(1, chosen[-1]))
    return rows[torch.cat(chosen, 1)]


def block_of(blocks: int, length: int, device: torch.device) -> Tensor:
    """The block of each pixel along a side, (length,); sizes differ where the side cannot be divided evenly."""
    numbers = torch.arange(blocks, dtype=torch.float32, device=device)
    return F.interpolate(numbers.view(1, 1, -1), size=length, mode="nearest").long().view(-1)


def saliency_of_blocks(saliency: Tensor, blocks: int) -> Tensor:
    """The shares of an image's saliency, (B, n, n)."""
    means = F.adaptive_avg_pool2d(saliency.unsqueeze(1), blocks).squeeze(1)
    return means / means.sum((1, 2), keepdim=True).clamp(min=torch.finfo(means.dtype).tiny)


def _as_polynomial(energy: Energy) -> tuple[Tensor, Tensor, Tensor]:
    """The same energy but for a constant: a factor for each z, and one for each product of neighbours."""
    single = energy.single.clone()
    single[:, :-1] += energy.down[:, 1, 0] - energy.down[:, 0, 0]
    single[:, 1:] += energy.down[:, 0, 1] - energy.down[:, 0, 0]
    single[:, :, :-1] += energy.right[:, 1, 0] - energy.right[:, 0, 0]
    single[:, :, 1:] += energy.right[:, 0, 1] - energy.right[:, 0, 0]
    products = [each[:, 0, 0] + each[:, 1, 1] - each[:, 0, 1] - each[:, 1, 0] for each in (energy.down, energy.right)]
    return single, products[0], products[1]


def _seams(images: list[Tensor]) -> Tensor:
    """The mean difference across the seam of a block of one image above a block of another, (B, 2, 2, n - 1, n)."""
    above = torch.stack([each[:, :, SEAM - 1 : -1 : SEAM] for each in images], dim=1).unsqueeze(2)
    below = torch.stack([each[:, :, SEAM::SEAM] for each in images], dim=1).unsqueeze(1)
    differences = F.avg_pool2d((above - below).abs().mean(3).flatten(1, 2), (1, SEAM))
    return differences.view(-1, 2, 2, *differences.shape[-2:])
