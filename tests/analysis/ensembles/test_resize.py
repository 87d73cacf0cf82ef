"""Resizing in the graph does what Pillow did to the training images."""

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.ensembles.resize import lanczos, nearest


def picture(width, height):
    """Smooth, with hard edges: what images are made of."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9), np.cos(y / 13), np.sin((x + y) / 17)], axis=-1)
    image = (127 + 90 * waves).astype(np.uint8)
    image[height // 3 : height // 2, width // 4 : width // 2] = (250, 5, 128)
    return image


SIZES = [
    ((500, 375), (480, 352)),
    ((200, 150), (64, 64)),
    ((40, 30), (64, 96)),
    ((64, 64), (64, 64)),
    ((97, 131), (32, 160)),
]


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_images_are_those_of_pillow_but_for_its_rounding(before, after):
    image = picture(*before)
    theirs = np.asarray(Image.fromarray(image).resize(after, Image.Resampling.LANCZOS)).astype(float)
    ours = lanczos(torch.from_numpy(image)[None].float(), after)[0].numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < 0.5
    assert np.quantile(np.abs(ours - theirs), 0.999) <= 1.5
    assert ours.min() >= 0 and ours.max() <= 255


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_labels_are_exactly_those_of_pillow(before, after):
    labels = np.random.default_rng(0).integers(0, 3, before[::-1], dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(labels).resize(after, Image.Resampling.NEAREST))
    assert np.array_equal(nearest(torch.from_numpy(labels)[None], after)[0].numpy(), theirs)


def test_images_of_a_batch_are_resized_independently():
    images = torch.rand(3, 20, 30, 3) * 255
    together = lanczos(images, (16, 16))
    for number in range(3):
        assert torch.allclose(together[number], lanczos(images[number : number + 1], (16, 16))[0], atol=1e-4)
