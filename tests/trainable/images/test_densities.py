"""Kernel densities around scribbles against a direct double loop, and distances against other algorithms."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from trainable.images.densities import colour_distances, log_densities, scribble_distances

UNLABELLED = 255


def double_loop(points, scribbles, label, spreads, cost_limit):
    """The definition in float64, pixel by pixel and scribbled pixel by scribbled pixel."""
    dimensions, height, width = points.shape
    found = np.full((height, width), -math.inf)
    sources = [(v, u) for v in range(height) for u in range(width) if scribbles[v, u] == label]
    for y in range(height):
        for x in range(width):
            total = 0.0
            for v, u in sources:
                colours = sum((points[d, y, x] - points[d, v, u]) ** 2 for d in range(dimensions))
                places = 0.0 if spreads is None else ((y - v) ** 2 + (x - u) ** 2) / spreads[y, x] ** 2
                total += math.exp(-0.5 * colours - 0.5 * places)
            if sources:
                share = total / len(sources) + (0.0 if cost_limit is None else math.exp(-cost_limit))
                found[y, x] = math.log(share) - (0.0 if spreads is None else 2 * math.log(spreads[y, x]))
    return found


def scene(shape=(9, 12), classes=3, features=2, seed=0, images=1):
    """Points of colours and features, and scribbles on a tenth of the pixels."""
    generator = torch.Generator().manual_seed(seed)
    points = 3 * torch.rand(images, 3 + features, *shape, generator=generator)
    labels = torch.randint(0, classes, (images, *shape), generator=generator)
    drawn = torch.rand(images, *shape, generator=generator) < 0.1
    labels[~drawn] = UNLABELLED
    labels[:, 0, :classes] = torch.arange(classes)
    return points, labels.to(torch.uint8)


@pytest.mark.parametrize("cost_limit", [None, 4.0])
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("features", [0, 2])
def test_densities_are_those_of_a_double_loop(features, uniform, cost_limit):
    points, scribbles = scene(features=features)
    spreads = None if uniform else 1.5 * scribble_distances(scribbles, 3).clamp(min=1)
    found = log_densities(points, scribbles, 3, spreads, cost_limit)
    assert found.dtype == torch.float32
    for label in range(3):
        own = None if spreads is None else spreads[0, label].double().numpy()
        expected = double_loop(points[0].double().numpy(), scribbles[0].numpy(), label, own, cost_limit)
        np.testing.assert_allclose(found[0, label].numpy(), expected, atol=2e-4)


def test_narrow_bandwidths_far_from_every_scribble_stay_exact():
    points, scribbles = scene(shape=(4, 300), classes=2, features=0)
    points *= 40  # exponents of thousands, whose exponentials are 0 in any precision
    scribbles[..., 10:] = UNLABELLED
    spreads = scribble_distances(scribbles, 2).clamp(min=1)
    found = log_densities(points, scribbles, 2, spreads)
    exact = log_densities(points.double(), scribbles, 2, spreads.double())
    assert found.isfinite().all() and exact.min() < -1000
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=5e-3)


def test_images_of_a_batch_are_independent():
    points, scribbles = scene(images=3)
    scribbles[1, 3:] = UNLABELLED  # different numbers of sources
    scribbles[2][scribbles[2] == 1] = UNLABELLED
    spreads = 2 * scribble_distances(scribbles, 3).clamp(min=1)
    together = log_densities(points, scribbles, 3, spreads, 10.0)
    for place in range(3):
        one = slice(place, place + 1)
        alone = log_densities(points[one], scribbles[one], 3, spreads[one], 10.0)
        torch.testing.assert_close(together[one], alone, rtol=1e-5, atol=1e-5)


def test_a_class_without_scribbles_is_impossible():
    points, scribbles = scene(classes=2)
    found = log_densities(points, scribbles, 3, 2 * scribble_distances(scribbles, 3).clamp(min=1), 10.0)
    assert (found[:, 2] == -math.inf).all() and not found.isnan().any()


def test_a_single_scribbled_pixel_has_a_density():
    points, scribbles = scene(classes=2)
    scribbles[:] = UNLABELLED
    scribbles[0, 4, 5] = 1
    found = log_densities(points, scribbles, 2, scribble_distances(scribbles, 2).clamp(min=1))
    assert found[0, 1].isfinite().all() and found[0, 1, 4, 5] == pytest.approx(0, abs=1e-5)


def test_many_sources_are_thinned_out_evenly():
    points, scribbles = scene(shape=(40, 50), classes=2, features=0)
    points[:] = points.mean(dim=(2, 3), keepdim=True) + 0.3 * torch.randn(points.shape)
    scribbles[0, :, :25], scribbles[0, :, 25:] = 0, 1
    exact = log_densities(points, scribbles, 2, most_sources=10**6)
    error = [(log_densities(points, scribbles, 2, most_sources=most) - exact).abs().mean() for most in (20, 400)]
    assert 0 < error[1] < 0.01 < error[0]


def test_a_lower_precision_of_products_does_not_change_densities():
    points, scribbles = scene()
    before = torch.get_float32_matmul_precision()
    expected = log_densities(points, scribbles, 3)
    try:
        torch.set_float32_matmul_precision("medium")
        assert torch.equal(log_densities(points, scribbles, 3), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_distances_to_scribbles_are_euclidean():
    scribbles = torch.full((1, 5, 6), UNLABELLED, dtype=torch.uint8)
    scribbles[0, 1, 1] = scribbles[0, 4, 5] = 0
    found = scribble_distances(scribbles, 2)
    assert found[0, 0, 1, 1] == 0 and found[0, 0, 0, 3] == pytest.approx(math.sqrt(5))
    assert found[0, 0, 4, 4] == 1 and found[0, 1].isinf().all()


def test_distances_to_scribbles_are_exact_whatever_is_beside_them_in_memory():
    rows, columns = np.mgrid[:24, :32]
    exact = np.hypot(rows - 5, columns - 25).astype(np.float32)
    for start in range(64):  # OpenCV's distances depend on the address of the array
        scribbles = torch.full((start + 24 * 32,), UNLABELLED, dtype=torch.uint8)[start:].view(1, 24, 32)
        scribbles[0, 5, 25] = 0
        assert np.array_equal(scribble_distances(scribbles, 1)[0, 0].numpy(), exact)


def test_distances_in_colour_are_shortest_paths():
    points, scribbles = scene(shape=(11, 14), classes=2, features=0, seed=3)
    found = colour_distances(scribbles, 2, points)
    height, width = scribbles.shape[1:]
    number = np.arange(height * width).reshape(height, width)
    picture = points[0].double().numpy()
    rows = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    columns = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    flat = picture.reshape(3, -1)
    lengths = np.linalg.norm(flat[:, rows] - flat[:, columns], axis=0)
    graph = coo_matrix((lengths, (rows, columns)), (number.size, number.size)).tocsr()
    for label in range(2):
        sources = number[scribbles[0].numpy() == label]
        expected = dijkstra(graph, directed=False, indices=sources, min_only=True).reshape(height, width)
        np.testing.assert_allclose(found[0, label].numpy(), expected, atol=1e-3)
