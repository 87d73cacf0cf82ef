"""The dense CRF against the direct sum over all pairs of pixels."""

import cv2
import numpy as np
import pytest
import torch
from noisy_disks import noisy, picture

from analysis.refinement.steps import crf
from analysis.refinement.steps.crf import CERTAIN, NEAR, DenseCrf
from analysis.refinement.steps.lattice import Lattice
from analysis.refinement.steps.step import Scene


def scene(image):
    return Scene(image, np.full(image.shape[:2], 255, np.uint8))


def direct(maps, image, step):
    """Mean field with both kernels as matrices, in double precision."""
    classes, height, width = maps.shape
    diagonal = np.hypot(height, width)
    places = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2).astype(float)
    colours = image.reshape(height * width, -1).astype(float)
    away, unlike = (((each[:, None] - each[None]) ** 2).sum(axis=-1) for each in (places, colours))
    appearance = np.exp(-0.5 * (away / (step.position * diagonal) ** 2 + unlike / step.colour**2))
    smoothness = np.exp(-0.5 * away / max(NEAR * diagonal, 0.5) ** 2)
    appearance, smoothness = (each / np.sqrt(np.outer(each.sum(1), each.sum(1))) for each in (appearance, smoothness))
    logits = np.log(maps.reshape(classes, -1).clip(CERTAIN).astype(float))
    found = maps.reshape(classes, -1).astype(float)
    for _ in range(step.iterations):
        odds = np.exp(logits + step.appearance * found @ appearance + step.smoothness * found @ smoothness)
        found = odds / odds.sum(axis=0)
    return found.reshape(maps.shape)


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_the_lattice_sums_what_the_direct_sum_does(dimensions):
    """Means of values are right within 0.02 on average and 0.1 at most, of values from 0 to 1."""
    rng = np.random.default_rng(dimensions)
    points = torch.tensor(rng.uniform(0, 3, (600, dimensions)), dtype=torch.float32)
    values = torch.tensor(rng.uniform(0, 1, (600, 1)), dtype=torch.float32)
    both = torch.cat([values, torch.ones_like(values)], dim=1)
    kernel = torch.exp(-0.5 * torch.cdist(points, points) ** 2)
    exact, found = kernel @ both, Lattice(points).filter(both)
    error = (found[:, 0] / found[:, 1] - exact[:, 0] / exact[:, 1]).abs()
    assert error.mean() < 0.02 and error.max() < 0.1
    scale = found[:, 1] / exact[:, 1]
    assert scale.std() / scale.mean() < 0.15, "the sums themselves, up to a common factor"


def test_the_lattice_forgets_nothing_and_is_linear():
    points = torch.rand(50, 3) * 4
    lattice, values = Lattice(points), torch.rand(50, 2)
    parts = sum(lattice.filter(values * (torch.arange(50) == k)[:, None]) for k in range(50))
    assert torch.allclose(lattice.filter(values), parts, atol=1e-5)
    assert (lattice.filter(torch.ones(50, 1)) > 0).all()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "step", [DenseCrf(3, 0.1, 16, 3), DenseCrf(10, 0.04, 8, 3), DenseCrf(10, 0.1, 8, 1)], ids=lambda each: each.name
)
def test_mean_field_agrees_with_the_direct_sum(step, classes):
    """Probabilities differ by less than 0.02 on average, and fewer than 2 % of the pixels change their class."""
    image, inside = picture(30, 40)
    maps = noisy(inside if classes == 2 else inside + (image[..., 0] > 175), classes)
    found, exact = step.apply(maps, scene(image)), direct(maps, image, step)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)
    assert np.abs(found - exact).mean() < 0.02
    assert (found.argmax(axis=0) != exact.argmax(axis=0)).mean() < 0.02
    assert (exact.argmax(axis=0) != maps.argmax(axis=0)).mean() > 0.1, "a field that changes nothing proves nothing"


def test_a_field_follows_the_outline_in_the_image():
    image, inside = picture(48, 64)
    maps = noisy(inside, 2)
    found = DenseCrf(5, 0.1, 16, 3).apply(maps, scene(image))
    before, after = (((each[1] > 0.5) != inside).mean() for each in (maps, found))
    assert before > 0.2 and after < 0.01


def test_a_grey_image_needs_one_channel_only():
    image, inside = picture(30, 40, channels=1)
    maps = noisy(inside, 2)
    step = DenseCrf(5, 0.1, 16, 3)
    found, exact = step.apply(maps, scene(image)), direct(maps, image, step)
    assert (found.argmax(axis=0) != exact.argmax(axis=0)).mean() < 0.02


def test_settings_that_are_computed_together_give_what_each_gives_alone():
    image, inside = picture(20, 24)
    maps = noisy(inside, 3)
    steps = [DenseCrf(3, 0.1, 8, 3), DenseCrf(3, 0.04, 8, 3), DenseCrf(10, 0.1, 8, 1), DenseCrf(3, 0.1, 8, 3, 2)]
    together = list(DenseCrf.apply_each(steps, maps, scene(image)))
    for step, found in zip(steps, together, strict=True):
        assert np.allclose(step.apply(maps, scene(image)), found, atol=1e-5)
    assert not np.allclose(together[0], together[3], atol=1e-3), "iterations matter"


def test_without_weights_nothing_changes_and_uniform_images_are_smoothed():
    image, inside = picture(20, 24)
    maps = noisy(inside, 2)
    assert np.allclose(DenseCrf(0, 0.1, 8, 0).apply(maps, scene(image)), maps, atol=1e-3)
    flat = DenseCrf(5, 0.1, 8, 0).apply(maps, scene(np.zeros_like(image)))
    assert flat[1].std() < maps[1].std()


def test_a_large_image_is_corrected_at_a_smaller_size(monkeypatch):
    image, inside = picture(48, 64)
    maps = noisy(cv2.erode(inside.astype(np.uint8), np.ones((3, 3))), 2)
    whole = DenseCrf(5, 0.1, 16, 3).apply(maps, scene(image))
    monkeypatch.setattr(crf, "MOST_PIXELS", 24 * 32)
    sizes = []
    monkeypatch.setattr(crf, "Lattice", lambda points: sizes.append(len(points)) or Lattice(points))
    small = DenseCrf(5, 0.1, 16, 3).apply(maps, scene(image))
    assert sizes == [24 * 32] and small.shape == whole.shape
    assert np.allclose(small.sum(axis=0), 1, atol=1e-5)
    assert ((small[1] > 0.5) != (whole[1] > 0.5)).mean() < 0.1


def test_a_single_pixel_and_a_line_are_images_too():
    for shape in ((1, 1), (1, 7)):
        maps = np.full((2, *shape), 0.5, np.float32)
        found = DenseCrf(5, 0.1, 8, 3).apply(maps, scene(np.zeros((*shape, 3), np.uint8)))
        assert np.allclose(found, 0.5, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives():
    image, inside = picture(48, 64)
    maps, step = noisy(inside, 3), DenseCrf(5, 0.1, 16, 3)
    there = Scene(image, np.full(image.shape[:2], 255, np.uint8), torch.device("cuda"))
    assert np.allclose(step.apply(maps, there), step.apply(maps, scene(image)), atol=1e-3)
