"""The smoothest segmentation that fits the costs of classes: a convex relaxation, solved by primal-dual steps.

Minimises the sum over pixels of <u, costs> plus ``smoothness`` times the length of the borders between classes, shorter
where they follow edges, over class probabilities u. Lengths are measured by the pairs of neighbours that a border
separates, as in a graph cut: of two classes every threshold of u is a minimiser, up to the gap. Of more classes the
energy of u is a lower bound that is usually attained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Each pixel's neighbour by rows and columns, and how much of a border's length their pair measures: a quarter of the
# directions each, so that the length of a border hardly depends on its direction (Cauchy and Crofton's formula).
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
LENGTHS = tuple(math.pi / (8 * math.hypot(*offset)) for offset in NEIGHBOURS)
CHECKED = 20  # steps between two computations of the gap, each of which costs as much as a step
BALANCE = 0.4  # of the step sizes: dual variables are up to the weight of a pair, primal ones up to 1


def edge_weights(colours: Tensor, gamma: float) -> Tensor:
    """exp(-gamma |difference of colours|) of pixels (B, D, H, W) and each of their neighbours, (B, 4, H, W)."""
    weights = colours.new_zeros((len(colours), len(NEIGHBOURS), *colours.shape[2:]))
    for place, offset in enumerate(NEIGHBOURS):
        here, there = _pairs(colours, offset)
        change = (there - here).square().sum(dim=1).sqrt() / math.hypot(*offset)
        _pairs(weights[:, place], offset)[0].copy_(torch.exp(-gamma * change))
    return weights


def relax(
    costs: Tensor,
    edges: Tensor,
    smoothness: float,
    fixed: Tensor | None = None,
    iterations: int = 1000,
    gap: float = 1e-3,
) -> Tensor:
    """The relaxed segmentation u (B, K, H, W) for these costs (B, K, H, W) and ``edge_weights`` (B, 4, H, W).

    ``fixed`` (B, H, W) is the class of a pixel whose label is known, and K or more elsewhere. An image is
    finished when its primal-dual gap is at most ``gap`` times the sum over its pixels of the difference between the
    highest and the lowest cost; the others continue without it.
    """
    if costs.shape[1] == 1:
        return torch.ones_like(costs)
    result = torch.empty_like(costs)
    problem = _problem(costs, edges * smoothness, fixed)
    primal = problem.project(problem.first_guess())
    duals = [torch.zeros_like(_pairs(primal, offset)[0]) for offset in NEIGHBOURS]
    ahead, alive = primal, torch.arange(len(costs), device=costs.device)
    for step in range(1, iterations + 1):
        for dual, weight, offset in zip(duals, problem.weights, NEIGHBOURS, strict=True):
            here, there = _pairs(ahead, offset)
            dual.addcmul_(there - here, problem.dual_step)
            torch.minimum(torch.maximum(dual, -weight, out=dual), weight, out=dual)
        moved = torch.addcmul(primal, problem.slack(duals), -problem.primal_step)
        before, primal = primal, problem.project(moved)
        ahead = torch.lerp(before, primal, 2.0)
        if step % CHECKED == 0 or step == iterations:
            done = (problem.gap(primal, duals) <= gap * problem.size) | (step == iterations)
            if done.any():
                result[alive[done]] = problem.outer(primal[done])
                if done.all():
                    break
                left = ~done
                alive, primal, ahead, problem = alive[left], primal[left], ahead[left], problem.only(left)
                duals = [dual[left] for dual in duals]
    return result


@dataclass(frozen=True)
class _Problem:
    """Images to segment, with one channel for two classes, else one a class."""

    costs: Tensor  # (B, C, H, W)
    weights: tuple[Tensor, ...]  # of the pairs in each direction: the most that a dual variable may be
    known: Tensor  # (B, 1, H, W): where labels are fixed
    label: Tensor  # (B, C, H, W): and to what
    size: Tensor  # (B,): what the gap is relative to
    dual_step: Tensor  # (B, 1, 1, 1)
    primal_step: Tensor

    def only(self, images: Tensor) -> _Problem:
        weights = tuple(weight[images] for weight in self.weights)
        rest = (self.known, self.label, self.size, self.dual_step, self.primal_step)
        return _Problem(self.costs[images], weights, *(each[images] for each in rest))

    def first_guess(self) -> Tensor:
        if self.costs.shape[1] == 1:
            return (self.costs < 0).to(self.costs.dtype)
        return torch.zeros_like(self.costs).scatter_(1, self.costs.argmin(dim=1, keepdim=True), 1)

    def outer(self, own: Tensor) -> Tensor:
        """The probabilities of all classes."""
        return torch.cat([1 - own, own], dim=1) if self.costs.shape[1] == 1 else own

    def project(self, values: Tensor) -> Tensor:
        """The nearest probabilities that keep fixed labels; may overwrite ``values``."""
        nearest = values.clamp_(0, 1) if values.shape[1] == 1 else to_simplex(values)
        return torch.where(self.known, self.label, nearest)

    def slack(self, duals: list[Tensor]) -> Tensor:
        """The costs plus the adjoint of the differences of neighbours: the slope of the energy in u."""
        found = self.costs.clone()
        for dual, offset in zip(duals, NEIGHBOURS, strict=True):
            here, there = _pairs(found, offset)
            here.sub_(dual)
            there.add_(dual)
        return found

    def gap(self, primal: Tensor, duals: list[Tensor]) -> Tensor:
        """What the energy of ``primal`` is at most above the lowest, per image."""
        slack = self.slack(duals)
        lowest = slack.amin(dim=1, keepdim=True).clamp(max=0 if slack.shape[1] == 1 else math.inf)
        lowest = torch.where(self.known, (slack * self.label).sum(dim=1, keepdim=True), lowest)
        total = (primal * self.costs).sum(dim=(1, 2, 3), dtype=torch.float64)
        total -= lowest.sum(dim=(1, 2, 3), dtype=torch.float64)
        for weight, offset in zip(self.weights, NEIGHBOURS, strict=True):
            here, there = _pairs(primal, offset)
            total += ((there - here).abs() * weight).sum(dim=(1, 2, 3), dtype=torch.float64)
        return total


def _problem(costs: Tensor, edges: Tensor, fixed: Tensor | None) -> _Problem:
    count, classes = costs.shape[:2]
    shift = costs - costs.amin(dim=1, keepdim=True)  # lowest cost 0: energies are of the size of their differences
    share = 1.0 if classes == 2 else 0.5  # with a channel for each class, a border is in two of them
    weights, total, number = [], edges.new_zeros(count), edges.new_zeros(count)
    for place, (offset, length) in enumerate(zip(NEIGHBOURS, LENGTHS, strict=True)):
        weight = _pairs(edges[:, place], offset)[0] * (share * length)
        weights.append(weight[:, None])
        total, number = total + weight.sum(dim=(1, 2)), number + weight[0].numel()
    labels = torch.full_like(edges[:, 0], classes) if fixed is None else fixed
    label = (labels[:, None] == torch.arange(classes, device=costs.device).view(1, -1, 1, 1)).to(costs.dtype)
    dual_step = (BALANCE * total / number.clamp(min=1)).clamp(min=1e-6).view(-1, 1, 1, 1)
    two = classes == 2
    return _Problem(
        costs=shift[:, 1:] - shift[:, :1] if two else shift,
        weights=tuple(weights),
        known=(labels < classes)[:, None],
        label=label[:, 1:] if two else label,
        size=shift.amax(dim=1).sum(dim=(1, 2), dtype=torch.float64),
        dual_step=dual_step,
        primal_step=1 / (4 * len(NEIGHBOURS) * dual_step),  # 4 bounds the squared norm of differences in one direction
    )


def to_simplex(values: Tensor) -> Tensor:
    """The nearest point of the probability simplex, over dimension 1.

    Subtracts the largest mean excess over 1 of the j largest values, for any j; a sorting network over the few classes
    is much faster than ``torch.sort`` along such a dimension.
    """
    ordered = list(values.unbind(1))
    for last in range(len(ordered) - 1, 0, -1):
        for place in range(last):
            one, other = ordered[place : place + 2]
            ordered[place : place + 2] = torch.maximum(one, other), torch.minimum(one, other)
    total, excess = ordered[0] - 1, ordered[0] - 1
    for count, value in enumerate(ordered[1:], 2):
        total = total + value
        excess = torch.maximum(excess, total / count)
    return (values - excess[:, None]).clamp_(min=0)


def _pairs(values: Tensor, offset: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Views of (..., H, W): all pixels that have a neighbour at this offset, and these neighbours."""
    down, right = offset
    height, width = values.shape[-2:]
    rows, columns = max(0, height - down), max(0, width - abs(right))
    first = max(0, -right)
    here = values[..., :rows, first : first + columns]
    there = values[..., height - rows :, first + right : first + right + columns]
    return here, there
