"""Connected components on the device, for a whole batch at once."""

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDS = 12  # each doubles the reach of a label or more, so this is enough for any shape but large mazes


def largest_components(classes: Tensor, count: int, rounds: int = ROUNDS) -> Tensor:
    """Which pixels of class maps (N, H, W) are in the largest component of their class; diagonals connect.

    ``count`` is the number of classes. Of two components of one size, one is kept.
    """
    labels = component_labels(classes, rounds).flatten()
    most = len(classes) * (classes.shape[1] + 2) * (classes.shape[2] + 2)
    sizes = torch.zeros(most, dtype=labels.dtype, device=labels.device)
    sizes.scatter_add_(0, labels, torch.ones_like(labels))
    ranks = sizes[labels] * most + labels  # by size, then by label
    samples = torch.arange(len(classes), device=classes.device).view(-1, 1, 1)
    groups = (samples * count + classes).flatten()
    largest = torch.zeros(len(classes) * count, dtype=ranks.dtype, device=ranks.device)
    largest.scatter_reduce_(0, groups, ranks, "amax")
    return (ranks == largest[groups]).view_as(classes)


def component_labels(classes: Tensor, rounds: int = ROUNDS) -> Tensor:
    """The same number for the pixels of each component, (N, H, W), and another one for every other component.

    In each round, the label of a pixel and that of the pixel it is named after become the largest label around it
    (Zhang et al., 2020, FastSV). The number of rounds is fixed, so that nothing has to wait for the last change.
    """
    width = classes.shape[2]
    bordered = F.pad(classes, (1, 1, 1, 1), value=-1)  # a border, so that neighbours are at fixed offsets
    grid = bordered.flatten()
    offsets = (1, width + 1, width + 2, width + 3)  # right, and the three below
    alike = [-(grid[:-offset] == grid[offset:]).long() for offset in offsets]  # a mask of all bits or none
    labels = torch.arange(grid.numel(), device=classes.device)
    for _ in range(rounds):
        parents = labels[labels]
        around = parents.clone()
        for offset, same in zip(offsets, alike, strict=True):
            before, after = around[:-offset], around[offset:]
            torch.maximum(before, parents[offset:] & same, out=before)
            torch.maximum(after, parents[:-offset] & same, out=after)
        labels = torch.maximum(labels, around).scatter_reduce(0, labels, around, "amax")
    return labels[labels].view_as(bordered)[:, 1:-1, 1:-1]
