"""Augmentation of several classes, of ignored pixels, of grey images, and where masks may not be used."""

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from conftest import small_config

from trainable.augmentation.batches import BatchStream
from trainable.augmentation.levels import Augmentation, ForegroundCrop, levels
from trainable.data.dataset import IGNORED
from trainable.data.packed_labels import pack, repack, unpack

SIZE = (96, 64)
LEVELS = tuple(levels(SIZE))
CLASSES = 5


def patches(seed, ignored=False):
    """A mask of 5 classes in patches, and scribbles with the true class on half of its pixels."""
    rng = np.random.default_rng(seed)
    values = [0, 0, 1, 2, 3, 4, *([IGNORED] * 2 if ignored else [])]
    mask = cv2.resize(rng.choice(np.array(values, np.uint8), (6, 8)), SIZE, interpolation=cv2.INTER_NEAREST)
    scribbled = (rng.random(mask.shape) < 0.5) & (mask != IGNORED)
    return mask, pack(np.where(scribbled, mask, np.uint8(255)), mask)


def picture(mask, channels=3):
    """Grey shows whether the mask is foreground."""
    return np.repeat(((mask > 0) * np.uint8(200))[..., None], channels, axis=2)


@pytest.mark.parametrize("level", LEVELS)
def test_no_level_makes_a_false_scribble_and_ignored_pixels_stay_ignored(level):
    augmentation = Augmentation(level, SIZE, CLASSES)
    seen, ignored = set(), 0
    for seed in range(60):
        mask, labels = patches(seed, ignored=True)
        scribble, moved = unpack(augmentation(picture(mask), labels, (7, seed))[1])
        assert set(np.unique(moved)) <= {0, 1, 2, 3, 4, IGNORED}
        assert (scribble[(scribble > 0)] == moved[scribble > 0] + 1).all(), seed
        ignored += int((moved == IGNORED).sum())
        seen |= set(np.unique(scribble))
    assert seen == set(range(CLASSES + 1))
    assert ignored > 60 * 96 * 64 * 0.1


@pytest.mark.parametrize("level", LEVELS)
def test_grey_images_stay_grey_and_move_with_their_labels(level):
    augmentation = Augmentation(level, SIZE, CLASSES)
    agreement = []
    for seed in range(40):
        mask, labels = patches(seed)
        moved, moved_labels = augmentation(picture(mask, 1), labels, (1, seed))
        assert moved.shape == (64, 96, 1) and moved.dtype == np.uint8
        agreement.append((moved[..., 0] > 90) == (unpack(moved_labels)[1] > 0))
    assert np.mean(agreement) > 0.95


def test_brightness_and_contrast_of_grey_images_vary():
    mask, labels = patches(0)
    augmentation = Augmentation("low", SIZE, CLASSES)
    augmentation.compose.transforms = augmentation.compose.transforms[:1]
    brightest = {int(augmentation(picture(mask, 1), labels, (key,))[0].max()) for key in range(40)}
    assert len(brightest) > 20


def test_scribbles_of_every_class_are_redrawn_in_half_of_the_samples():
    mask, labels = patches(2)
    augmentation = Augmentation("low", SIZE, CLASSES)
    augmentation.compose.transforms = []
    scribbles = [unpack(augmentation(picture(mask), labels, (key,))[1])[0] for key in range(60)]
    redrawn = [scribble for scribble in scribbles if not np.array_equal(scribble, unpack(labels)[0])]
    assert 0.25 < len(redrawn) / 60 < 0.75
    present = {int(label) + 1 for label in np.unique(mask)}
    assert set().union(*(np.unique(scribble) for scribble in redrawn)) - {0} == present
    assert len({scribble.tobytes() for scribble in redrawn}) == len(redrawn)


@pytest.mark.parametrize("options", [{"supervision": "scribbles"}, {"scribbled": False}])
def test_none_is_drawn_from_masks_that_may_not_be_used_or_for_a_network_that_sees_none(options):
    _, labels = patches(2)
    augmentation = Augmentation("low", SIZE, CLASSES, **options)
    augmentation.compose.transforms = []
    for key in range(30):
        assert np.array_equal(augmentation(picture(labels), labels, (key,))[1], labels)


def share_of_crops(labels, inside, bias, supervision="masks"):
    crop = A.Compose([ForegroundCrop((64, 96), scale=(0.1, 0.1), bias=bias, supervision=supervision)], seed=0)
    image = np.zeros((64, 96, 1), np.uint8)
    return np.mean([(crop(image=image, mask=labels)["mask"] == inside).any() for _ in range(100)])


@pytest.mark.parametrize("label", [1, 4, 14])
def test_crops_are_drawn_to_a_class_that_is_not_the_first(label):
    mask = np.zeros((64, 96), np.uint8)
    mask[2:5, 2:5] = label
    assert share_of_crops(mask, label, 1.0) == 1.0
    assert share_of_crops(mask, label, 0.0) < 0.2


def test_crops_are_not_drawn_to_ignored_pixels():
    mask = np.zeros((64, 96), np.uint8)
    mask[2:5, 2:5] = IGNORED
    assert share_of_crops(mask, IGNORED, 1.0) < 0.2


def test_without_masks_crops_are_drawn_to_scribbles_of_any_class_but_the_first():
    scribble, mask = np.zeros((64, 96), np.uint8), np.zeros((64, 96), np.uint8)
    scribble[:, 40:] = 1  # background scribbles do not attract it
    scribble[2:5, 2:5] = 3
    mask[60:, 90:] = 2  # nor does the mask
    assert share_of_crops(repack(scribble, mask), 3 << 4, 1.0, "scribbles") == 1.0
    assert share_of_crops(repack(scribble, mask), 3 << 4, 0.0, "scribbles") < 0.2


@pytest.fixture
def stream(class_data, class_folds):
    def make(data=class_data, **values):
        indices = data.indices(class_folds.training(0))
        return BatchStream(data, indices, small_config(augmentation="high", **values), 0)

    return make


def test_batches_of_a_grey_data_set_have_one_channel(stream):
    images, labels = stream()[0]
    assert images.shape == (4, 32, 64, 1) and labels.shape == (4, 32, 64)
    scribble, mask = unpack(labels)
    assert mask.max() == 3 and scribble.max() == 4
    assert (scribble[scribble > 0] == mask[scribble > 0] + 1).all()


def test_with_supervision_by_scribbles_batches_hold_nothing_of_the_masks(stream):
    scribbled = 0
    for step in range(5):
        scribble, mask = unpack(stream(supervision="scribbles")[step][1])
        assert not mask.any()
        scribbled += int((scribble > 0).sum())
    assert scribbled > 0


def test_a_network_that_sees_no_scribbles_gets_those_of_the_files(stream):
    one, other = stream(inputs="image"), stream()
    drawn = [torch.equal(one[step][1] >> 4, other[step][1] >> 4) for step in range(4)]
    assert not all(drawn)
