import albumentations as A
import cv2
import numpy as np
import pytest

from trainable.augmentation.levels import Augmentation, ForegroundCrop, SmoothElastic, levels
from trainable.data.packed_labels import pack, unpack

SIZE = (96, 64)
LEVELS = tuple(levels(SIZE))


def striped(seed):
    """An image whose red channel shows its mask, and whose scribbles cover every pixel with its true class."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    cv2.ellipse(mask, (int(rng.integers(20, 76)), 32), (18, 12), float(rng.uniform(0, 180)), 0, 360, 1, -1)
    image = np.repeat(mask[..., None] * np.uint8(200), 3, axis=2)
    return image, pack(np.where(rng.random(mask.shape) < 0.5, mask, np.uint8(255)), mask)


@pytest.mark.parametrize("level", LEVELS)
def test_no_level_ever_makes_a_false_scribble(level):
    augmentation = Augmentation(level, SIZE)
    seen = {1: 0, 2: 0}
    for seed in range(150):
        image, labels = striped(seed)
        scribble, mask = unpack(augmentation(image, labels, (7, seed))[1])
        assert not ((scribble == 2) & (mask == 0)).any(), seed
        assert not ((scribble == 1) & (mask == 1)).any(), seed
        assert set(np.unique(scribble)) <= {0, 1, 2} and set(np.unique(mask)) <= {0, 1}
        for label in seen:
            seen[label] += int((scribble == label).sum())
    assert min(seen.values()) > 0


def test_what_geometry_fills_in_is_unlabelled_background():
    """With every pixel scribbled, a pixel that came from outside the image is the only one without a label."""
    augmentation = Augmentation("low", SIZE)
    filled = 0
    for seed in range(40):
        image, labels = np.full((64, 96, 3), 255, np.uint8), np.full((64, 96), 0b011, np.uint8)
        augmentation.synthetic = 0.0
        _, moved = augmentation(image, labels, (3, seed))
        assert set(np.unique(moved)) <= {0, 0b011}
        filled += int((moved == 0).sum())
    assert filled > 0


@pytest.mark.parametrize("level", LEVELS[1:])
def test_image_and_mask_move_together(level):
    augmentation = Augmentation(level, SIZE)
    agreement = []
    for seed in range(60):
        image, labels = striped(seed)
        moved, moved_labels = augmentation(image, labels, (1, seed))
        agreement.append((moved[..., 1] > 90) == (unpack(moved_labels)[1] > 0))
    assert np.mean(agreement) > 0.97


@pytest.mark.parametrize("level", LEVELS[1:])
def test_labels_lie_where_the_image_shows_them_to_a_tenth_of_a_pixel(level):
    augmentation = Augmentation(level, SIZE)
    augmentation.synthetic = 0.0
    flips = A.HorizontalFlip | A.VerticalFlip  # would hide an offset, which they turn around
    kept = [each for each in augmentation.compose.transforms if isinstance(each, A.DualTransform)]
    augmentation.compose.transforms = [each for each in kept if not isinstance(each, flips)]
    offsets = []
    for key in range(150):
        disc = np.zeros(SIZE[::-1], np.uint8)
        cv2.circle(disc, (30 + key % 36, 32), 8, 1, -1)
        image, labels = augmentation(disc[..., None] * np.uint8(200), pack(disc, disc), (1, key))
        mask = unpack(labels)[1]
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        if mask.any() and not border.any():  # the disc is whole
            offsets.append(centre(mask) - centre(image[..., 0]))
    assert len(offsets) > 50
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.1


def centre(weights):
    return np.array([np.average(index, weights=weights) for index in np.indices(weights.shape)])


@pytest.mark.parametrize("level", LEVELS)
def test_a_sample_depends_on_its_key_alone(level):
    image, labels = striped(5)
    one, other = Augmentation(level, SIZE), Augmentation(level, SIZE)
    for key in range(5):
        other(image, labels, (99, key))
    for key in ((0, 0), (0, 1)):
        first, second = one(image, labels, key), other(image, labels, key)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_keys_give_different_samples():
    image, labels = striped(5)
    augmentation = Augmentation("low", SIZE)
    # All of low's transforms sit out together in 1.6 % of the samples.
    assert len({augmentation(image, labels, (0, key))[0].tobytes() for key in range(40)}) > 35


def test_inputs_are_left_as_they_were():
    image, labels = striped(1)
    before = image.copy(), labels.copy()
    for key in range(20):
        Augmentation("high", SIZE)(image, labels, (key,))
    assert np.array_equal(image, before[0]) and np.array_equal(labels, before[1])


def test_none_changes_nothing():
    image, labels = striped(2)
    moved = Augmentation("none", SIZE)(image, labels, (1, 2, 3))
    assert np.array_equal(moved[0], image) and np.array_equal(moved[1], labels)


def names(level):
    return [type(transform).__name__ for transform in levels(SIZE)[level]]


def test_each_level_holds_the_one_before_it_and_what_it_adds():
    assert names("none") == []
    assert names("low") == ["ColorJitter", "HorizontalFlip", "VerticalFlip", "Affine"]
    assert names("medium") == [*names("low"), "ForegroundCrop"]
    assert names("high") == [*names("medium"), "SmoothElastic", "GridDistortion", "GaussianBlur"]


def test_augmented_levels_sometimes_redraw_scribbles():
    image, labels = striped(3)
    augmentation = Augmentation("low", SIZE)
    augmentation.compose.transforms = []
    changed = [not np.array_equal(augmentation(image, labels, (key,))[1], labels) for key in range(60)]
    assert 0.25 < np.mean(changed) < 0.75


def test_crops_contain_foreground_as_often_as_the_bias_demands():
    mask = np.zeros((64, 96), np.uint8)
    mask[2:5, 2:5] = 1  # a corner that a blind crop of a tenth of the area seldom shows
    image = np.zeros((64, 96, 3), np.uint8)

    def share(bias):
        crop = A.Compose([ForegroundCrop((64, 96), scale=(0.1, 0.1), bias=bias)], seed=0)
        return np.mean([crop(image=image, mask=mask)["mask"].any() for _ in range(200)])

    assert share(1.0) == 1.0
    assert share(0.0) < 0.2


def test_elastic_moves_pixels_by_about_the_given_distance():
    elastic = SmoothElastic(alpha=5, sigma=32, p=1)
    elastic.set_random_seed(0)
    shifts = []
    for _ in range(30):
        maps = elastic.get_params_dependent_on_data({"shape": (352, 480, 3)}, {})
        shifts.append(maps["map_x"] - np.arange(480, dtype=np.float32))
        assert maps["map_x"].shape == maps["map_y"].shape == (352, 480)
    assert 3.5 < np.std(shifts) < 6.5
    assert np.diff(np.stack(shifts), axis=2).min() > -1, "a field that folds over itself would tear objects apart"
