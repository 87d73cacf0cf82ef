"""Gaussian filtering of points in a few dimensions on a permutohedral lattice (Adams, Baek and Davis 2010).

The values of n points are spread to the corners of the lattice's simplices, blurred along its d + 1 directions and read
back at the points: the sum over all points, weighted by exp(-|difference|^2 / 2), in time that is linear in n. Built
from sorted integer keys and gathers, so it works on any device.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class Lattice:
    """``points`` is (n, d), divided by the bandwidth of each dimension."""

    def __init__(self, points: Tensor) -> None:
        corners, self._weights = _simplices(points)
        touched, inverse = torch.unique(corners.keys.flatten(), return_inverse=True)
        # Blurring also passes through unused corners around; without them, sums of few points would be too small.
        around = [touched + sign * step for step in corners.steps for sign in (1, -1)]
        used = torch.unique(torch.cat([touched, *around]))
        inverse = torch.searchsorted(used, touched)[inverse]
        self._corner = inverse.view_as(corners.keys)
        order = inverse.argsort(stable=True)
        self._point = order // corners.keys.shape[1]
        self._point_weights = self._weights.flatten()[order]
        self._starts = torch.searchsorted(inverse[order], torch.arange(len(used), device=used.device))
        self._neighbours = [_neighbours(used, step) for step in corners.steps]

    def filter(self, values: Tensor) -> Tensor:
        """The weighted sums of ``values``, (n, c), up to a factor that is the same for all."""
        spread = F.embedding_bag(
            self._point, values, self._starts, per_sample_weights=self._point_weights.to(values), mode="sum"
        )
        grid = F.pad(spread, (0, 0, 0, 1))  # corners without points have the value of the last row, 0
        for after, before in self._neighbours:
            grid[:-1] = 0.5 * grid[:-1] + 0.25 * (grid[after] + grid[before])
        return F.embedding_bag(self._corner, grid, per_sample_weights=self._weights.to(values), mode="sum")


class _Corners:
    """The corners of each point's simplex as numbers, and the differences of those of neighbouring corners."""

    def __init__(self, origins: Tensor, ranks: Tensor) -> None:
        count = origins.shape[1]
        origins, ranks = origins[:, :-1], ranks[:, :-1]  # the last coordinate follows from the others
        room = 2 * count  # for neighbours of the outermost corners
        lowest = origins.min(dim=0).values - room
        spans = origins.max(dim=0).values + room - lowest + 1
        if math.prod(spans.tolist()) >= 2**62:
            raise ValueError("the points are too far apart for their bandwidths")
        places = torch.ones_like(spans)
        places[1:] = spans.cumprod(0)[:-1]
        base = ((origins - lowest) * places).sum(dim=1)
        # The corner number k of a simplex is k away from its origin along the coordinates of low rank, and k - count
        # along the others.
        wraps = [torch.where(ranks >= count - k, places, 0).sum(dim=1) for k in range(count)]
        whole = places.sum()
        self.keys = torch.stack([base + k * whole - count * wrap for k, wrap in enumerate(wraps)], dim=1)
        self.steps = [whole - count * place for place in places] + [whole]


def _simplices(points: Tensor) -> tuple[_Corners, Tensor]:
    """The corners of the simplex that each point is in, and its weight at each of them, (n, d + 1)."""
    lifted = points @ _basis(points.shape[1]).to(points)
    count = lifted.shape[1]
    origins = torch.round(lifted / count) * count
    excess = (origins.sum(dim=1) / count).round()
    ranks = (lifted - origins).argsort(dim=1, descending=True, stable=True).argsort(dim=1) + excess[:, None].long()
    wrapped = (ranks < 0).long() - (ranks >= count).long()
    ranks, origins = ranks + wrapped * count, origins + wrapped * count
    offsets = torch.zeros_like(lifted).scatter_(1, ranks, (lifted - origins) / count).flip(1)
    weights = torch.cat([1 + offsets[:, :1] - offsets[:, -1:], offsets[:, 1:] - offsets[:, :-1]], dim=1)
    return _Corners(origins.long(), ranks), weights


def _basis(dimensions: int) -> Tensor:
    """(d, d + 1): to the plane of coordinates that add up to 0, scaled so that blurring has a variance of 1."""
    basis = torch.zeros(dimensions, dimensions + 1)
    for number in range(dimensions):
        scale = (dimensions + 1) * math.sqrt(2 / 3 / (number + 1) / (number + 2))
        basis[number, : number + 1] = scale
        basis[number, number + 1] = -(number + 1) * scale
    return basis


def _neighbours(used: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Where the corners one step after and before each are among those used, which are sorted; their number if not."""
    found = torch.searchsorted(used, used + step).clamp(max=len(used) - 1)
    there = used[found] == used + step
    before = torch.full_like(found, len(used))
    before[found[there]] = there.nonzero()[:, 0]
    return torch.where(there, found, len(used)), before
