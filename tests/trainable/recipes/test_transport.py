"""Blocks move to where they are shown: one in each place, nearly as well as can be, and pixel by pixel."""

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from trainable.recipes.puzzle import block_of
from trainable.recipes.transport import assigned, pixels_of, transported


def puzzles(blocks, samples=40, seed=0):
    """Shares of a saliency that is large in few blocks, and random places that are shown."""
    generator = torch.Generator().manual_seed(seed)
    saliency = -torch.rand(samples, blocks, blocks, generator=generator).log()
    shown = torch.rand(samples, blocks, blocks, generator=generator) < torch.rand(samples, 1, 1, generator=generator)
    return saliency / saliency.sum((1, 2), keepdim=True), shown.float()


def values_of(saliency, shown, cost):
    """Of every block in every place, (B, n * n, n * n)."""
    blocks = saliency.shape[-1]
    places = torch.cartesian_prod(torch.arange(blocks), torch.arange(blocks)).double()
    gains = torch.einsum("bp,bs->bps", shown.flatten(1), saliency.flatten(1)).double()
    return gains - cost * (torch.cdist(places, places) / blocks) ** 2


def gains_of(moved, values):
    """What assignments (B, m) gain over leaving every block in its place."""
    return values.gather(2, moved.unsqueeze(2)).sum((1, 2)) - values.diagonal(dim1=1, dim2=2).sum(1)


def best_of(values):
    return torch.stack([torch.from_numpy(linear_sum_assignment(each, maximize=True)[1]) for each in values])


@pytest.mark.parametrize("cost", [0.0, 0.05, 0.2, 0.8])
@pytest.mark.parametrize("blocks", [2, 3, 4, 8])
def test_every_block_is_used_once_and_no_puzzle_gets_worse(blocks, cost):
    saliency, shown = puzzles(blocks)
    moved = transported(saliency, shown, cost).flatten(1)
    assert torch.equal(moved.sort(1).values, torch.arange(blocks**2).expand_as(moved))
    assert gains_of(moved, values_of(saliency, shown, cost)).min() > -1e-6


@pytest.mark.parametrize("blocks", [2, 3, 4, 5, 8])
def test_moving_blocks_gains_nearly_as_much_as_it_can(blocks):
    """With the default cost, 98 % of what the best assignments gain over no move, and more than 80 % in each puzzle."""
    saliency, shown = puzzles(blocks)
    values = values_of(saliency, shown, 0.2)
    gains, most = gains_of(transported(saliency, shown, 0.2).flatten(1), values), gains_of(best_of(values), values)
    assert most.sum() > 1 and gains.sum() > 0.98 * most.sum()
    assert (gains > 0.8 * most - 1e-5).all()


def test_any_values_are_assigned_nearly_as_well_as_they_can_be():
    values = torch.randn(40, 9, 9, generator=torch.Generator().manual_seed(0))
    assert gains_of(assigned(values, 5), values).sum() > 0.98 * gains_of(best_of(values), values).sum()


@pytest.mark.parametrize(("cost", "expected"), [(1.3, [1, 2, 0]), (1.6, [0, 1, 2])])
def test_a_block_moves_if_that_gains_more_than_it_costs(cost, expected):
    """All saliency is in the first of 3 x 3 blocks, and the image is shown in the third place alone.

    To move there costs 4; that both blocks behind move up costs 1 and 1. This is 6 / 9 of the cost, against a gain of
    1; the two blocks would change places for 8 / 9.
    """
    saliency, shown = torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)
    saliency[0, 0, 0] = shown[0, 0, 2] = 1
    moved = transported(saliency, shown, cost)
    assert moved.tolist() == [[expected, [3, 4, 5], [6, 7, 8]]]


def test_an_image_without_any_saliency_stays_as_it_is():
    for cost in (0.0, 0.2):
        moved = transported(torch.zeros(1, 4, 4), torch.ones(1, 4, 4), cost)
        assert moved.flatten().tolist() == list(range(16))


def shuffled(blocks, samples=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(blocks**2, generator=generator).view(blocks, blocks) for _ in range(samples)])


def test_pixels_move_with_their_blocks():
    moved = shuffled(4)
    image = torch.arange(24 * 32).view(24, 32)
    found = image.flatten()[pixels_of(moved, 24, 32)]
    for sample in range(3):
        for y in range(4):
            for x in range(4):
                v, u = divmod(int(moved[sample, y, x]), 4)
                place = found[sample, 6 * y : 6 * y + 6, 8 * x : 8 * x + 8]
                assert torch.equal(place, image[6 * v : 6 * v + 6, 8 * u : 8 * u + 8])


@pytest.mark.parametrize(("height", "width"), [(33, 50), (41, 82), (9, 7)])
@pytest.mark.parametrize("blocks", [2, 3, 7])
def test_every_pixel_is_of_the_block_that_moved_to_its_place(blocks, height, width):
    """Also where blocks are not of one size."""
    down, right = (block_of(blocks, side, torch.device("cpu")) for side in (height, width))
    numbers = down.unsqueeze(1) * blocks + right
    moved = shuffled(blocks)
    pixels = pixels_of(moved, height, width)
    assert torch.equal(numbers.flatten()[pixels], moved.flatten(1)[:, numbers])
    still = torch.arange(blocks**2).view(1, blocks, blocks)
    assert torch.equal(pixels_of(still, height, width).flatten(), torch.arange(height * width))


def test_a_block_in_a_place_of_another_size_is_resized_by_the_nearest_pixel():
    """Five rows are blocks of three and of two, as the nearest interpolation of a grid has them."""
    assert block_of(2, 5, torch.device("cpu")).tolist() == [0, 0, 0, 1, 1]
    pixels = pixels_of(torch.tensor([[[2, 3], [0, 1]]]), 5, 2)
    assert (pixels[0, :, 0] // 2).tolist() == [3, 4, 4, 0, 2]  # centres of thirds in two rows, of halves in three
