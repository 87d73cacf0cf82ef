"""The method on drawn images: what it finds, and what it does where scribbles are missing."""

import numpy as np
import pytest
import torch

from trainable.config.images.colour_fields import ColourFields
from trainable.images.method import ScribbledImage
from trainable.images.methods.colour_distributions import ColourDistributions, _lab

UNLABELLED = 255
CPU = torch.device("cpu")


def scene(shape=(48, 64), colours=((60, 80, 60), (180, 90, 60)), noise=8.0, features=None, seed=0):
    """A disc of the second colour on a ground of the first, with a scribble in each, and the truth."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    truth = ((rows - shape[0] / 2) ** 2 + (columns - shape[1] / 2) ** 2 < (min(shape) / 4) ** 2).astype(np.uint8)
    image = np.asarray(colours, float)[truth] + rng.normal(0, noise, (*shape, len(colours[0])))
    scribble = np.full(shape, UNLABELLED, np.uint8)
    scribble[shape[0] // 2, shape[1] // 2 - 2 : shape[1] // 2 + 3] = 1
    scribble[3, 4:-4] = 0
    return ScribbledImage(image.clip(0, 255).astype(np.uint8), scribble, features, seed), truth


def segment(image, classes=2, **hyperparameters):
    (found,) = ColourDistributions(ColourFields(**hyperparameters)).segment([image], classes, CPU)
    assert found.shape == (classes, *image.scribble.shape) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-4)
    known = image.scribble < classes
    assert (found.argmax(axis=0)[known] == image.scribble[known]).all()
    return found


def agreement(found, truth):
    return (found.argmax(axis=0) == truth).mean()


@pytest.mark.parametrize(
    "hyperparameters",
    [{}, {"colour_space": "lab"}, {"uniform": True}, {"detour": 0.0}, {"cost_limit": None, "background_bias": 0.0}],
)
def test_a_disc_of_another_colour_is_found(hyperparameters):
    image, truth = scene()
    assert agreement(segment(image, **hyperparameters), truth) > 0.98


def test_a_grey_image_is_segmented():
    image, truth = scene(colours=((60,), (180,)))
    assert agreement(segment(image), truth) > 0.98 and agreement(segment(image, colour_space="lab"), truth) > 0.98


@pytest.mark.parametrize("colour_space", ["rgb", "lab"])
def test_a_grey_image_is_segmented_as_its_copy_in_colour(colour_space):
    grey, _ = scene(colours=((90,), (120,)), noise=30.0)
    copy = ScribbledImage(np.repeat(grey.image, 3, axis=2), grey.scribble, None, 0)
    settings = {"colour_space": colour_space, "sigma": 0.1, "edge_gamma": 4.0, "smoothness": 0.05}
    one, three = (segment(image, working_size=32, **settings) for image in (grey, copy))
    assert np.allclose(one, three, atol=1e-5) and 0.02 < one[1].mean() < 0.9


def test_features_separate_what_colours_do_not():
    same = ((90, 90, 90), (90, 90, 90))
    plain, truth = scene(colours=same, noise=20.0)
    features = 5 * np.stack([truth, 1 - truth], axis=-1).astype(np.float32)
    image, _ = scene(colours=same, noise=20.0, features=features)
    assert agreement(segment(image, sigma=0.2), truth) > 0.98
    assert agreement(segment(plain, sigma=0.2), truth) < 0.95


def test_smoothness_removes_specks():
    image, _ = scene(noise=60.0)

    def borders(found):
        labels = found.argmax(axis=0).astype(int)
        return np.abs(np.diff(labels, axis=0)).sum() + np.abs(np.diff(labels, axis=1)).sum()

    wide = {"sigma": 0.1, "edge_gamma": 0.0}
    assert borders(segment(image, smoothness=0.3, **wide)) < borders(segment(image, smoothness=0.0, **wide)) / 2


def test_colours_may_mean_something_else_in_another_place():
    # The left half is a dark object on light ground, the right half a light object on dark ground.
    rng = np.random.default_rng(0)
    truth = np.zeros((40, 80), np.uint8)
    truth[10:30, 10:30] = truth[10:30, 50:70] = 1
    light = truth == (np.arange(80) >= 40)
    image = (np.where(light, 200, 60)[..., None] + rng.normal(0, 8, (40, 80, 3))).clip(0, 255).astype(np.uint8)
    scribble = np.full((40, 80), UNLABELLED, np.uint8)
    scribble[20, 14:26] = scribble[20, 54:66] = 1
    scribble[4, 4:36] = scribble[4, 44:76] = scribble[35, 4:36] = scribble[35, 44:76] = 0
    picture = ScribbledImage(image, scribble, None, 0)
    plain = {"sigma": 0.05, "alpha": 0.5, "cost_limit": 20.0, "background_bias": 0.0, "detour": 0.0, "smoothness": 0.0}
    assert agreement(segment(picture, **plain), truth) > 0.95
    assert agreement(segment(picture, uniform=True, **plain), truth) < 0.9


def test_a_bias_towards_the_background_shrinks_the_foreground():
    image, _ = scene(noise=60.0)
    areas = [segment(image, background_bias=bias)[1].sum() for bias in (-4.0, 0.0, 4.0, 60.0)]
    assert areas == sorted(areas, reverse=True) and areas[0] > areas[-1]


def test_a_bias_towards_the_background_changes_nothing_without_scribbles_of_it():
    image, _ = scene(noise=60.0)
    image.scribble[image.scribble == 0] = 3
    found = [segment(image, classes=4, background_bias=bias) for bias in (0.0, 4.0)]
    assert np.array_equal(*found) and 0 < found[0][1].mean() < 1


def test_three_classes_are_found():
    image, truth = scene()
    corner = image.image.copy()
    corner[30:, :16] = (60, 80, 200)
    truth[30:, :16] = 2
    scribble = image.scribble.copy()
    scribble[40, 4:12] = 2
    assert agreement(segment(ScribbledImage(corner, scribble, None, 0), classes=3), truth) > 0.98


def test_a_class_without_scribbles_is_never_predicted():
    image, truth = scene()
    found = segment(image, classes=4)
    assert (found[2:] == 0).all() and agreement(found, truth) > 0.98
    alone = ScribbledImage(image.image, np.where(image.scribble == 1, 1, UNLABELLED).astype(np.uint8), None, 0)
    assert (segment(alone)[1] == 1).all()


def test_without_any_scribble_all_classes_are_equally_likely():
    image, _ = scene()
    nothing = ScribbledImage(image.image, np.full_like(image.scribble, UNLABELLED), None, 0)
    assert np.allclose(segment(nothing, classes=3), 1 / 3)


def test_a_scribble_of_one_pixel_is_enough():
    image, truth = scene(shape=(96, 128), noise=3.0)
    scribble = np.full_like(image.scribble, UNLABELLED)
    scribble[48, 64], scribble[5, 5] = 1, 0
    found = segment(ScribbledImage(image.image, scribble, None, 0), working_size=32, smoothness=0.1)
    assert np.isfinite(found).all() and agreement(found, truth) > 0.95


def test_a_one_pixel_scribble_among_others_survives_the_reduction():
    image, _ = scene(shape=(96, 128))
    scribble = np.full_like(image.scribble, UNLABELLED)
    scribble[48:51] = 0
    scribble[50, 70] = 1
    found = segment(ScribbledImage(image.image, scribble, None, 0), working_size=16)
    assert found[1, 52, 67] > 0.5, "the middle of the reduced pixel, which is mostly background"


def test_images_of_a_group_are_segmented_as_alone():
    images = [scene(shape, seed=place)[0] for place, shape in enumerate([(48, 64), (40, 40), (48, 64), (48, 64)])]
    images[3].scribble[images[3].scribble == 1] = 2  # other classes than in the images of its size
    alone = [segment(image, classes=3) for image in images]
    together = ColourDistributions(ColourFields()).segment(images, 3, CPU)
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-3)


def enlarged(pixels, times):
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def test_the_size_of_an_image_matters_little():
    small, truth = scene(shape=(60, 80))
    large = ScribbledImage(enlarged(small.image, 5), enlarged(small.scribble, 5), None, 0)
    found = segment(large, working_size=80)
    assert agreement(found, enlarged(truth, 5)) > 0.98


@pytest.mark.parametrize("smoothness", [0.1, 20.0])
def test_smoothness_means_the_same_at_every_working_size(smoothness):
    small, _ = scene(shape=(36, 48), noise=60.0)
    large = ScribbledImage(enlarged(small.image, 2), enlarged(small.scribble, 2), None, 0)
    same = {"smoothness": smoothness, "sigma": 0.1, "edge_gamma": 0.0, "detour": 0.0}
    found = segment(small, working_size=48, **same).argmax(axis=0)
    assert agreement(segment(large, working_size=96, **same), enlarged(found, 2)) > 0.985


@pytest.mark.parametrize("detour", [0.05, 30.0])
def test_detours_lengthen_with_the_working_size(detour):
    small, _ = scene(shape=(36, 48), noise=0.0)
    method = ColourDistributions(ColourFields(detour=detour))
    bandwidths = []
    for times in (1, 2):
        colours = torch.from_numpy(enlarged(small.image, times)).permute(2, 0, 1)[None] / 255
        scribbles = torch.from_numpy(enlarged(small.scribble, times))[None]
        bandwidths.append(method._spreads(colours, scribbles, 2)[..., ::times, ::times])
    far = bandwidths[0] > 10
    assert far.float().mean() > 0.4 and (bandwidths[1] / bandwidths[0])[far].sub(2).abs().max() < 0.2


def test_black_to_white_is_a_distance_of_1_in_lab():
    ends = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert _lab(ends).diff(dim=3).norm().item() == pytest.approx(1, abs=1e-4)
