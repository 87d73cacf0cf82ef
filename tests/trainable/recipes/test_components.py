"""Components on the device are those of scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from trainable.recipes.components import component_labels, largest_components


def blobs(seed, classes=4):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(3, 48, 64)), (0, 2, 2))
    edges = np.quantile(field, np.linspace(0, 1, classes + 1)[1:-1])
    return torch.from_numpy(np.digitize(field, edges))


def noise(share):
    return (torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0)) < share).long()


def snake():
    """A path of 1,500 pixels that turns back at every second row."""
    grid = torch.zeros(1, 48, 64, dtype=torch.int64)
    grid[:, ::2] = 1
    grid[:, 1::4, -1] = grid[:, 3::4, 0] = 1
    return grid


MAPS = {"blobs": blobs(0), "many blobs": blobs(1, 8), "sparse": noise(0.4), "dense": noise(0.6), "snake": snake()}


@pytest.mark.parametrize("name", MAPS)
def test_labels_are_those_of_scipy(name):
    classes = MAPS[name]
    labels = component_labels(classes).numpy()
    for sample, each in enumerate(classes.numpy()):
        for which in np.unique(each):
            expected, count = ndimage.label(each == which, np.ones((3, 3)))
            here = expected > 0
            pairs = set(zip(expected[here].tolist(), labels[sample][here].tolist(), strict=True))
            assert len(pairs) == count == len({label for _, label in pairs})
    assert len(np.unique(labels)) >= len(classes), "no label in two samples"


@pytest.mark.parametrize("name", MAPS)
def test_the_largest_component_of_every_class_is_kept(name):
    classes = MAPS[name]
    kept = largest_components(classes, 8).numpy()
    for each, ours in zip(classes.numpy(), kept, strict=True):
        for which in np.unique(each):
            expected, count = ndimage.label(each == which, np.ones((3, 3)))
            sizes = ndimage.sum_labels(expected > 0, expected, range(1, count + 1))
            (found,) = np.unique(expected[ours & (each == which)])
            assert sizes[found - 1] == sizes.max() == (ours & (each == which)).sum()


def test_of_two_components_of_one_size_one_is_kept():
    kept = largest_components(torch.tensor([[[1, 0, 1]]]), 2)
    assert kept[0, 0, 1] and kept.sum() == 2
