"""Which blocks of an image move before it is mixed, so that salient ones are shown (Puzzle Mix, Kim et al., 2020).

Every place of a grid receives one block of the image, and every block is used once. A block costs the square of the
distance that it moves, and gains its saliency where the image is shown. The assignment starts with every block in its
own place and is improved along cycles of places, each of which takes the block of the next, for a whole batch at once.
"""

import torch
from torch import Tensor

from trainable.recipes.puzzle import block_of

MORE_ROUNDS = 2  # than there are blocks in a row
STEPS = 8  # of a search for cycles: about the number of places in the longest one that it finds
LEAST_GAIN = 1e-6  # above the rounding of sums of shares


def transported(saliency: Tensor, shown: Tensor, cost: float) -> Tensor:
    """The number of the block that each place receives, (B, n, n), row by row; each number occurs once.

    ``saliency`` (B, n, n) are shares of an image's saliency, ``shown`` (B, n, n) is 1 where the image is shown.
    Moving a block by one place costs ``cost`` times the mean share of a block.
    """
    blocks = saliency.shape[-1]
    places = torch.arange(blocks**2, device=saliency.device)
    down, right = places // blocks, places % blocks
    squares = (down.unsqueeze(1) - down).square() + (right.unsqueeze(1) - right).square()
    gains = shown.flatten(1).unsqueeze(2) * saliency.flatten(1).unsqueeze(1)
    return assigned(gains - cost / blocks**2 * squares, blocks + MORE_ROUNDS).view_as(saliency)


def assigned(values: Tensor, rounds: int) -> Tensor:
    """The item that each place receives, (B, m), given the value (B, m, m) of every item in every place.

    No assignment is worse than that of each item to its own place, and most are the best.
    """
    samples, size, _ = values.shape
    own = torch.arange(size, device=values.device).expand(samples, -1)
    items = own
    for _ in range(rounds):
        order = _improvement(values, own)
        items = items.gather(1, order)
        values = values.gather(2, order.unsqueeze(1).expand_as(values))
    return items


def _improvement(values: Tensor, own: Tensor) -> Tensor:
    """From which place each place takes its item: the next one of a cycle that gains, or itself.

    Bellman and Ford's search for the best chain of places from each place, which remembers the next place of each.
    Wherever these form a cycle, the cycle gains, however soon the search ends; no two cycles have a place in common.
    """
    gains = values - values.diagonal(dim1=1, dim2=2).unsqueeze(2)
    total, following = torch.zeros_like(gains[:, 0]), own
    for _ in range(STEPS):
        best, by = (gains + total.unsqueeze(1)).max(2)
        better = best > total + LEAST_GAIN
        total, following = torch.where(better, best, total), torch.where(better, by, following)
    reached = following
    for _ in range((own.shape[1] - 1).bit_length()):  # twice as far each time, so that only cycles are left
        reached = reached.gather(1, reached)
    in_cycle = torch.zeros_like(reached).scatter(1, reached, 1) > 0
    return torch.where(in_cycle, following, own)


def pixels_of(moved: Tensor, height: int, width: int) -> Tensor:
    """The number of the pixel that each pixel shows, (B, H, W), row by row, when blocks (B, n, n) are moved.

    A block that moves to a place of another size is resized to it, by the nearest pixel.
    """
    blocks = moved.shape[-1]
    rows = _along(moved // blocks, height)  # (B, H, n)
    columns = _along((moved % blocks).transpose(1, 2), width).transpose(1, 2)  # (B, n, W)
    down, right = (block_of(blocks, side, moved.device) for side in (height, width))
    return rows.index_select(2, right) * width + columns.index_select(1, down)


def _along(sources: Tensor, length: int) -> Tensor:
    """The pixel along a side, (B, length, n), of which each shows the block ``sources`` (B, n, n) along this side."""
    blocks = sources.shape[-1]
    block = block_of(blocks, length, sources.device)
    sizes = (block == torch.arange(blocks, device=block.device).unsqueeze(1)).sum(1)
    starts = sizes.cumsum(0) - sizes
    offsets = (torch.arange(length, device=block.device) - starts[block]).unsqueeze(1)
    source = sources.index_select(1, block)
    return starts[source] + (2 * offsets + 1) * sizes[source] // (2 * sizes[block].unsqueeze(1))
