"""The augmentations of published texts: what they hold, and what they do to sizes, grey images and directions."""

import warnings
from typing import get_args

import albumentations as A
import numpy as np
import pytest

from search.planning.step_seconds import AUGMENTATIONS
from trainable.augmentation.levels import Augmentation, levels
from trainable.augmentation.recipes import RandomGrey
from trainable.config import Config
from trainable.data.packed_labels import pack

SIZES = ((96, 64), (64, 96), (64, 64), (160, 32))
RECIPES = ("contrastive", "textbook")


def names(recipe):
    return [type(transform).__name__ for transform in levels((96, 64))[recipe]]


def test_a_config_can_have_every_augmentation_of_the_table_and_plans_know_which_is_slower():
    known = get_args(Config.model_fields["augmentation"].annotation)
    assert known == tuple(levels((96, 64)))
    assert sorted(AUGMENTATIONS) == sorted(known)


def test_recipes_hold_what_their_texts_list():
    crop, *rest = names("contrastive")
    assert crop == "RandomResizedCrop"
    assert rest == ["HorizontalFlip", "VerticalFlip", "ColorJitter", "RandomGrey", "GaussianBlur"]
    turn, _, crop, *rest = names("textbook")
    assert (turn, crop) == ("RandomRotate90", "RandomCrop")
    flips, distortions = ["HorizontalFlip", "VerticalFlip"], ["ElasticTransform", "GridDistortion"]
    assert rest == [*flips, *distortions, "RandomBrightnessContrast"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_keep_their_size_and_nothing_is_warned_of(recipe, size, channels):
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    labels = np.full((size[1], size[0]), 0x21, np.uint8)
    augmentation = Augmentation(recipe, size)
    augmentation.synthetic = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for key in range(30):
            moved, moved_labels = augmentation(image, labels, (key,))
            assert moved.shape == image.shape and moved_labels.shape == labels.shape
            assert moved.dtype == moved_labels.dtype == np.uint8


def only_geometry(recipe, size, kinds):
    augmentation = Augmentation(recipe, size)
    augmentation.synthetic = 0.0
    kept = [each for each in augmentation.compose.transforms if isinstance(each, kinds)]
    augmentation.compose.transforms = kept
    return augmentation


@pytest.mark.parametrize("size", SIZES)
def test_turns_and_crops_of_the_textbook_fill_nothing_in_and_squeeze_nothing(size):
    """A disc stays a disc: its width and height are those of an image enlarged in both directions alike."""
    augmentation = only_geometry("textbook", size, A.RandomRotate90 | A.SmallestMaxSize | A.RandomCrop)
    y, x = np.mgrid[: size[1], : size[0]]
    disc = ((x - size[0] // 2) ** 2 + (y - size[1] // 2) ** 2 <= 10**2).astype(np.uint8)
    labels = pack(disc, disc)
    image = np.zeros((*labels.shape, 1), np.uint8)
    whole = 0
    for key in range(60):
        moved = augmentation(image, labels, (key,))[1]
        assert (moved > 0).all(), "every pixel is scribbled, so only a filled one has no label"
        foreground = moved == labels.max()
        if not (foreground[0].any() or foreground[-1].any() or foreground[:, 0].any() or foreground[:, -1].any()):
            whole += 1
            assert abs(int(foreground.any(axis=0).sum()) - int(foreground.any(axis=1).sum())) <= 2
    assert whole > 5 or min(size) == 32


def test_the_textbook_turns_a_quarter_of_the_samples_by_90_or_270_degrees():
    """p = 0.5, and half of the four turns swap the sides."""
    augmentation = only_geometry("textbook", (96, 64), A.RandomRotate90 | A.SmallestMaxSize | A.RandomCrop)
    labels = np.full((64, 96), 0x01, np.uint8)
    labels[::2] = 0x10  # stripes along the rows
    image = np.zeros((64, 96, 1), np.uint8)
    upright = [(np.diff(augmentation(image, labels, (key,))[1], axis=1) != 0).any() for key in range(200)]
    assert 0.15 < np.mean(upright) < 0.36


def test_one_in_ten_coloured_samples_is_grey_and_keeps_three_channels():
    grey = A.Compose([transform for transform in levels((96, 64))["contrastive"] if isinstance(transform, RandomGrey)])
    grey.set_random_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    made = [grey(image=image)["image"] for _ in range(400)]
    assert {each.shape for each in made} == {(64, 96, 3)}
    assert 0.05 < np.mean([(each[..., :1] == each).all() for each in made]) < 0.15
