"""The grids of a puzzle have the least energy of all, and the energy is the stated one."""

import itertools

import pytest
import torch

from trainable.recipes.puzzle import Energy, cheapest_grids, mixing_energy


def energy_of(grid, energy, sample):
    """By a direct loop over blocks and their neighbours."""
    blocks = len(grid)
    total = 0.0
    for y, x in itertools.product(range(blocks), repeat=2):
        z = int(grid[y][x])
        total += z * energy.single[sample, y, x].item()
        if y + 1 < blocks:
            total += energy.down[sample, z, int(grid[y + 1][x]), y, x].item()
        if x + 1 < blocks:
            total += energy.right[sample, z, int(grid[y][x + 1]), y, x].item()
    return total


def random_energy(blocks, coupling, samples=3, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(samples, *shape, generator=generator)

    tables = (draw(2, 2, blocks - 1, blocks), draw(2, 2, blocks, blocks - 1))
    return Energy(draw(blocks, blocks), *(coupling * each for each in tables))


@pytest.mark.parametrize("coupling", [0.0, 0.3, 3.0])
def test_no_grid_has_less_energy(coupling):
    """All 512 grids of 3 x 3 blocks, also where neighbours prefer to differ, which a graph cut could not minimise."""
    energy = random_energy(3, coupling)
    found = cheapest_grids(energy)
    for sample in range(3):
        least = min(
            energy_of([bits[0:3], bits[3:6], bits[6:9]], energy, sample) for bits in itertools.product((0, 1), repeat=9)
        )
        assert energy_of(found[sample], energy, sample) == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize("blocks", [4, 8])
def test_the_energy_of_larger_grids_is_that_of_an_exact_cut(blocks):
    """A maximum flow of networkx, on energies that a cut can minimise."""
    networkx = pytest.importorskip("networkx")
    energy = random_energy(blocks, 0.0, samples=2)
    apart = (1 - torch.eye(2)).view(1, 2, 2, 1, 1)
    generator = torch.Generator().manual_seed(1)
    down = apart * torch.rand(2, 1, 1, blocks - 1, blocks, generator=generator)
    right = apart * torch.rand(2, 1, 1, blocks, blocks - 1, generator=generator)
    energy = Energy(energy.single, down, right)
    found = cheapest_grids(energy)
    for sample in range(2):
        graph = networkx.DiGraph()
        for place in itertools.product(range(blocks), repeat=2):
            cost = energy.single[sample][place].item()
            graph.add_edge("s", place, capacity=max(cost, 0))  # cut where z = 1, on the side of t
            graph.add_edge(place, "t", capacity=max(-cost, 0))
        for table, (dy, dx) in ((down, (1, 0)), (right, (0, 1))):
            for y, x in itertools.product(*map(range, table.shape[-2:])):
                for one, other in (((y, x), (y + dy, x + dx)), ((y + dy, x + dx), (y, x))):
                    graph.add_edge(one, other, capacity=table[sample, 0, 1, y, x].item())
        cut, _ = networkx.minimum_cut(graph, "s", "t")
        least = cut + energy.single[sample].clamp(max=0).sum().item()
        assert energy_of(found[sample], energy, sample) == pytest.approx(least, abs=1e-4)


def test_the_terms_of_an_energy_are_those_that_are_stated():
    """Two grey images of 8 x 8 with 2 x 2 blocks: one dark, one bright below; all saliency of the first is above."""
    dark, lower = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    lower[:, :, 4:] = 1
    salient = torch.zeros(1, 8, 8)
    salient[:, :4] = 1  # half of it in each of the upper blocks
    even = torch.ones(1, 8, 8)  # a quarter in each block
    energy = mixing_energy((dark, salient), (lower, even), torch.tensor([0.8]), 2, (3.2, 0.5, 0.4))
    wanted = 0.4 / 4 * torch.tensor(0.8 / 0.2).log().item()
    assert energy.single[0].flatten().tolist() == pytest.approx([0.25 + wanted] * 2 + [-0.25 + wanted] * 2)
    # beta is 3.2 / (2 * 16) = 0.1; a seam of full contrast adds 0.1 * 0.5.
    assert energy.down[0, :, :, 0, 0].flatten().tolist() == pytest.approx([0, 0.15, 0.1, 0.05])
    assert energy.right[0, :, :, 0, 0].flatten().tolist() == pytest.approx([0, 0.1, 0.1, 0])
    assert energy.right[0, :, :, 1, 0].flatten().tolist() == pytest.approx([0, 0.15, 0.15, 0])
