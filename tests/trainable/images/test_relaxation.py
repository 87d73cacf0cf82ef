"""The relaxation against exact minimisers: minimum cuts of two classes, all labellings of three."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_flow

from trainable.images import relaxation
from trainable.images.relaxation import edge_weights, relax, to_simplex

FREE = 255


def problem(shape=(24, 31), classes=2, seed=0):
    """Noisy costs (1, K, H, W) of smooth regions, and weights of edges (1, 4, H, W)."""
    rng = np.random.default_rng(seed)
    costs = np.stack([gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(classes)])
    costs = 2 * costs / costs.std() + rng.normal(size=costs.shape)
    edges = rng.uniform(0.2, 1, (4, *shape))
    return torch.tensor(costs, dtype=torch.float32)[None], torch.tensor(edges, dtype=torch.float32)[None]


def pairs(edges, smoothness):
    """All pairs of neighbours in an image as flat numbers of pixels, each with what separating them costs."""
    height, width = edges.shape[1:]
    for weights, (down, right) in zip(edges, ((0, 1), (1, 0), (1, 1), (1, -1)), strict=True):
        length = math.pi / (8 * math.hypot(down, right))
        for y, x in itertools.product(range(height), range(width)):
            if y + down < height and 0 <= x + right < width:
                yield y * width + x, (y + down) * width + x + right, float(weights[y, x]) * smoothness * length


def energy(u, costs, edges, smoothness):
    """The energy of probabilities (K, H, W) by its definition."""
    flat = u.reshape(len(u), -1).double().numpy()
    borders = sum(
        weight * np.abs(flat[:, one] - flat[:, other]).sum() for one, other, weight in pairs(edges, smoothness)
    )
    return float((u * costs).double().sum() + borders / 2)


def minimum_cut(costs, edges, smoothness, fixed=None, precision=1e5):
    """The lowest energy of two classes, from a maximum flow."""
    count = costs[0].numel()
    source, sink = count, count + 1
    flat = (costs - costs.amin(dim=0)).reshape(2, -1).double().numpy()
    if fixed is not None:
        for label in (0, 1):
            flat[1 - label, fixed.reshape(-1).numpy() == label] += 1000
    links = [(source, pixel, flat[0, pixel]) for pixel in range(count)]  # cut if the class is 0
    links += [(pixel, sink, flat[1, pixel]) for pixel in range(count)]
    for one, other, weight in pairs(edges, smoothness):
        links += [(one, other, weight), (other, one, weight)]
    start, end, capacity = zip(*links, strict=True)
    capacity = np.round(np.array(capacity) * precision).astype(np.int32)
    graph = coo_matrix((capacity, (start, end)), (count + 2, count + 2)).tocsr()
    return maximum_flow(graph, source, sink).flow_value / precision + float(costs.amin(dim=0).double().sum())


def labelled(u):
    """The probabilities of the likeliest classes: 0 and 1."""
    return torch.nn.functional.one_hot(u.argmax(dim=0), len(u)).permute(2, 0, 1).float()


@pytest.mark.parametrize("smoothness", [0.5, 3.0, 12.0])
def test_two_classes_have_the_energy_of_a_minimum_cut(smoothness):
    costs, edges = problem()
    u = relax(costs, edges, smoothness, gap=1e-5, iterations=3000)[0]
    lowest = minimum_cut(costs[0], edges[0], smoothness)
    scale = (costs[0, 0] - costs[0, 1]).abs().sum().item()
    assert lowest - 1e-5 * scale <= energy(u, costs[0], edges[0], smoothness) <= lowest + 2e-5 * scale
    for threshold in (0.2, 0.5, 0.8):
        cut = torch.stack([u[1] <= threshold, u[1] > threshold]).float()
        assert energy(cut, costs[0], edges[0], smoothness) == pytest.approx(lowest, rel=0.01)
    assert 0.05 < u[1].mean() < 0.95


def test_fixed_labels_stay_and_shape_the_rest():
    costs, edges = problem()
    fixed = torch.full((1, 24, 31), FREE, dtype=torch.uint8)
    fixed[0, 3:6, 5:25], fixed[0, 16:19, 5:25] = 1, 0
    u = relax(costs, edges, 6.0, fixed, gap=1e-5, iterations=3000)[0]
    assert (u[1, 3:6, 5:25] == 1).all() and (u[0, 16:19, 5:25] == 1).all()
    lowest = minimum_cut(costs[0], edges[0], 6.0, fixed[0])
    assert energy(labelled(u), costs[0], edges[0], 6.0) == pytest.approx(lowest, rel=0.01)
    assert lowest > minimum_cut(costs[0], edges[0], 6.0) + 1


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_three_classes_against_all_labellings(seed):
    costs, edges = problem((3, 3), 3, seed)
    best = math.inf
    rows = list(pairs(edges[0], 2.0))
    flat = costs[0].reshape(3, -1).double().numpy()
    for labels in itertools.product(range(3), repeat=9):
        value = sum(flat[label, pixel] for pixel, label in enumerate(labels))
        best = min(best, value + sum(weight for one, other, weight in rows if labels[one] != labels[other]))
    u = relax(costs, edges, 2.0, gap=1e-6, iterations=5000)[0]
    torch.testing.assert_close(u.sum(dim=0), torch.ones(3, 3))
    assert energy(u, costs[0], edges[0], 2.0) <= best + 1e-3
    assert energy(labelled(u), costs[0], edges[0], 2.0) == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_gap_falls_and_bounds_the_energy(classes, monkeypatch):
    costs, edges = problem(classes=classes)
    gaps, measured = [], relaxation._Problem.gap

    def recorded(self, primal, duals):
        gaps.append(measured(self, primal, duals))
        return gaps[-1]

    monkeypatch.setattr(relaxation._Problem, "gap", recorded)
    u = relax(costs, edges, 3.0, gap=-1.0, iterations=1000)[0]
    found = torch.cat(gaps).numpy()
    early = relax(costs, edges, 3.0, gap=-1.0, iterations=20)[0]
    excess = energy(early, costs[0], edges[0], 3.0) - energy(u, costs[0], edges[0], 3.0)
    assert 0 < excess <= found[0] * 1.001
    assert found[-1] < 1e-3 * found[0] and (np.diff(found[found > 1e-4 * found[0]]) < 0).all()


@pytest.mark.parametrize("gap", [1e-1, 3e-3])
def test_steps_end_at_the_gap(gap):
    costs, edges = problem()
    exact, near = (relax(costs, edges, 12.0, gap=each, iterations=3000)[0] for each in (1e-7, gap))
    scale = (costs[0, 0] - costs[0, 1]).abs().sum().item()
    excess = energy(near, costs[0], edges[0], 12.0) - energy(exact, costs[0], edges[0], 12.0)
    assert gap / 100 < excess / scale <= gap


def test_no_smoothness_gives_the_cheapest_class():
    costs, edges = problem(classes=3)
    assert torch.equal(relax(costs, edges, 0.0)[0], labelled(-costs[0]))


def test_edges_are_weak_where_colours_change():
    picture = torch.zeros(1, 3, 4, 6)
    picture[..., 3:] = 0.5
    weights = edge_weights(picture, 2.0)[0]
    right, down, diagonal, other = (weights[direction] for direction in range(4))
    change = math.exp(-2 * 0.5 * math.sqrt(3))
    assert right[0].tolist() == pytest.approx([1, 1, change, 1, 1, 0])
    assert (down[:3] == 1).all() and (down[3] == 0).all()
    assert diagonal[0, 2] == pytest.approx(change ** math.sqrt(0.5)) and other[0, 3] == diagonal[0, 2]


def test_the_nearest_point_of_the_simplex():
    values = torch.tensor([[0.5, 0.5, 0.0], [-1.0, 0.0, 2.0], [0.6, 0.6, 0.0], [1.0, 1.0, 1.0]])
    expected = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(to_simplex(values[..., None, None])[..., 0, 0], expected)
