"""What every method keeps to, and what each of the simple ones computes."""

from functools import cache

import numpy as np
import pytest
import torch
from tiny_networks import tiny_network

from trainable.config import ImageConfig, make_image_config
from trainable.config.conditions import conditions_of
from trainable.data.dataset import UNLABELLED
from trainable.images.method import ScribbledImage
from trainable.images.methods import colour_distributions, grabcut
from trainable.images.methods.random_walker import MOST, walk
from trainable.images.pretrained import network
from trainable.images.pretrained.network import MEAN, STD, PretrainedNetwork, open_network
from trainable.images.regions import reduced
from trainable.images.registry import METHODS, WITH_NETWORK, build_method
from trainable.images.segmenter import Segmenter
from trainable.networks.registry import build_network

CPU = torch.device("cpu")


def image(scribbles, height=24, width=32, channels=3, seed=0):
    """Noise around one grey per column half, with these pixels scribbled: {(row, column): class}."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 40, (height, width, channels)).astype(np.uint8)
    pixels[:, width // 2 :] += 150
    scribble = np.full((height, width), UNLABELLED, np.uint8)
    for place, label in scribbles.items():
        scribble[place] = label
    return ScribbledImage(pixels, scribble, None, seed)


NETWORKS = ("pixelwise", "cnn", "unet")
VALUES = {"finetune": {"features": "encoder", "tuning_steps": 2}, "sam": {"sam_size": "tiny"}}


def method_named(name, iterations=5, classes=2, **more):
    values = {"iterations": iterations} if name in NETWORKS else VALUES.get(name, {})
    config = make_image_config({"method": name, **values, **more})
    if name not in WITH_NETWORK:
        return build_method(config)
    if name == "sam":
        return build_method(config, open_network(config, None, classes, CPU))
    network = build_network(tiny_network("unet", inputs="image+scribble"), MEAN, STD, 0, classes)
    return build_method(config, PretrainedNetwork(network.eval(), (40, 32), CPU))


CASES = {
    "single pixels": (image({(5, 5): 0, (5, 25): 1}), 2),
    "four classes": (image({(2, 2): 0, (20, 2): 1, (2, 28): 2, (20, 28): 3}), 4),
    "two of four classes": (image({(2, 2): 1, (20, 28): 3}), 4),
    "one class": (image({(5, 5): 1}), 2),
    "no scribbles": (image({}), 3),
    "grey": (image({(5, 5): 0, (5, 25): 1}, channels=1), 2),
    "everything scribbled": (image({(row, column): column // 16 for row in range(24) for column in range(32)}), 2),
    "a tiny image": (image({(0, 0): 0, (1, 1): 1}, 2, 2), 2),
    "one row": (image({(0, 0): 0, (0, 30): 1}, 1), 2),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", CASES)
def test_a_method_returns_probabilities_of_whatever_is_scribbled(name, case):
    asked, classes = CASES[case]
    (found,) = method_named(name, classes=classes).segment([asked], classes, CPU)
    assert found.shape == (classes, *asked.scribble.shape) and found.dtype == np.float32
    assert found.min() >= 0 and np.allclose(found.sum(axis=0), 1, atol=1e-5)
    present = set(np.unique(asked.scribble).tolist()) - {UNLABELLED}
    absent = [label for label in range(classes) if label not in present]
    assert not present or (found[absent] < 1 / classes).all(), "a class without scribbles was chosen"


@pytest.mark.parametrize("name", METHODS)
def test_an_image_does_not_depend_on_those_beside_it_and_repeats_itself(name):
    first, second = image({(5, 5): 0, (5, 25): 1}), image({(3, 30): 0, (18, 3): 1}, 20, 40, seed=1)
    method = method_named(name)
    together = method.segment([first, second], 2, CPU)
    for asked, found in zip((first, second), together, strict=True):
        alone = method.segment([asked], 2, CPU)[0]
        assert alone.tobytes() == found.tobytes() or (name in NETWORKS and np.allclose(alone, found, atol=1e-3))
    assert [each.tobytes() for each in method.segment([first, second], 2, CPU)] == [each.tobytes() for each in together]


# A value that is not the default of each hyperparameter, and what has to be set besides for it to matter.
OTHER_VALUES = {
    "grabcut_iterations": 1,
    "walker_beta": 10,
    "colour_space": "lab",
    "sigma": 0.02,
    "alpha": 2,
    "uniform": True,
    "features_sigma": 0.1,
    "detour": 0.5,
    "cost_limit": 5,
    "background_bias": 0,
    "smoothness": 0.4,
    "edge_gamma": 3,
    "working_size": 16,
    "relaxation_steps": 20,
    "relaxation_gap": 0.1,
    "inputs": "colour",
    "depth": 3,
    "width": 8,
    "kernel": 5,
    "downscalings": 1,
    "iterations": 3,
    "learning_rate": 0.02,
    "scribble_pixels": 2,
    "beta": 1e6,
    "penalised": "colour",
    "tuning_steps": 1,
    "tuning_rate": 1e-3,
    "frozen": "all_but_head",
    "hidden_scribbles": 0,
}
BESIDES = {
    "features_sigma": {"features": "encoder"},
    "penalised": {"beta": 1e6},
    "frozen": {"tuning_rate": 1e-3},
    "hidden_scribbles": {"tuning_rate": 1e-3},
}
# What the network is opened with before a method is built, whose effect tests of pretrained/ show.
OF_OPENING = {
    "features",
    "features_from",
    "features_channels",
    "encoder",
    "encoder_weights",
    "sam_size",
    "sam_weights",
    "sam_points",
}
PAIRS = [
    (method, name)
    for method in METHODS
    for name in ImageConfig.model_fields
    if method in conditions_of(ImageConfig, name).get("method", ()) and name not in OF_OPENING
]


@cache
def found_with(method, values):
    """The probabilities of a noisy slope of colours, on which no class is certain."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:24, :32]
    slope = np.stack([60 + 3 * columns, 150 - 2 * rows, 90 + rows + columns], axis=-1)
    pixels = (slope + rng.normal(0, 3, slope.shape)).clip(0, 255).astype(np.uint8)
    scribble = image({(5, 5): 0, (5, 25): 1, (20, 7): 0, (20, 20): 1, (7, 18): 1}).scribble
    features = rng.random((6, 8, 2)) if "features" in dict(values) else None
    asked = ScribbledImage(pixels, scribble, features, 0)
    return method_named(method, **{"iterations": 2, **dict(values)}).segment([asked], 2, CPU)[0]


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_every_hyperparameter_changes_probabilities(method, name):
    besides = BESIDES.get(name, {})
    usual, other = (found_with(method, tuple({**besides, **own}.items())) for own in ({}, {name: OTHER_VALUES[name]}))
    assert not np.array_equal(usual, other)


@pytest.mark.parametrize("name", ["grabcut", "random_walker", "colour_distributions", "pixelwise", "cnn"])
def test_two_halves_of_different_brightness_are_told_apart(name):
    asked = image({(12, 1): 0, (12, 18): 1})  # the nearest scribble of columns 10 to 15 is the wrong one
    (found,) = method_named(name, iterations=60).segment([asked], 2, CPU)
    assert ((found[1] > 0.5) == (np.arange(32) >= 16)).mean() > 0.97


def test_nearest_is_the_class_of_the_nearest_scribble_and_surer_the_nearer_it_is():
    rng = np.random.default_rng(3)
    places = {(int(rng.integers(24)), int(rng.integers(32))): k % 3 for k in range(9)}
    (found,) = method_named("nearest").segment([image(places)], 3, CPU)
    rows, columns = np.mgrid[:24, :32]
    away = np.full((3, 24, 32), np.inf)
    for (row, column), label in places.items():
        away[label] = np.minimum(away[label], np.hypot(rows - row, columns - column))
    clear = np.diff(np.sort(away, axis=0), axis=0)[0] > 1e-3
    assert (found.argmax(axis=0) == away.argmin(axis=0))[clear].all()
    assert found[0][away[0] == 0].min() > 0.99 > found[0][(away[0] > 3) & (away[1] > 3)].max()


def test_the_random_walker_solves_the_equations_of_its_probabilities():
    asked = image({(5, 5): 0, (5, 25): 1, (20, 10): 2}, channels=1)
    colours, scribble = reduced(asked.image, asked.scribble, MOST)
    found = np.stack(walk(colours / 255.0, scribble, [0, 1, 2], beta=90))
    grey, size = colours[..., 0] / 255.0, scribble.shape
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    most = max(np.square(np.diff(grey, axis=axis)).max() for axis in (0, 1))
    for row, column in [(0, 0), (7, 9), (12, 15), (23, 31), (5, 16)]:
        sums, total = np.zeros(3), 0.0
        for down, right in steps:
            r, c = row + down, column + right
            if 0 <= r < size[0] and 0 <= c < size[1]:
                weight = np.exp(-90 * (grey[row, column] - grey[r, c]) ** 2 / most) + 1e-6
                sums, total = sums + weight * found[:, r, c], total + weight
        assert np.allclose(found[:, row, column], sums / total, atol=1e-5), "not the mean of its neighbours"
    assert found[1][5, 25] == 1 and found[1][5, 5] == 0


@pytest.mark.parametrize("name", ["grabcut", "random_walker"])
def test_a_large_image_is_segmented_as_its_small_copy(name, monkeypatch):
    monkeypatch.setattr(grabcut, "MOST", MOST)
    asked = image({(150, 10): 0, (150, 250): 1}, 300, 400)
    (found,) = method_named(name).segment([asked], 2, CPU)
    assert found.shape == (2, 300, 400) and ((found[1] > 0.5) == (np.arange(400) >= 200)).mean() > 0.97


def test_a_large_image_is_reduced_without_losing_a_scribble():
    asked = image({(299, 399): 1, (150, 20): 0, (7, 301): 2}, 300, 400)
    colours, scribble = reduced(asked.image, asked.scribble, MOST)
    assert colours.shape[:2] == scribble.shape and scribble.size <= MOST
    assert set(np.unique(scribble)) == {0, 1, 2, UNLABELLED}
    (found,) = method_named("random_walker").segment([asked], 3, CPU)
    assert found.shape == (3, 300, 400) and found[1, 299, 399] == 1


def asked_of_method(image, scribble):
    """What a method is asked to segment at 40x30."""
    segmenter = Segmenter(make_image_config({"size": "40x30"}), 3, CPU)
    return segmenter._asked(image, scribble).scribble


@pytest.mark.parametrize(
    "shrink",
    [
        lambda image, scribble: reduced(image, scribble, 1200)[1],
        lambda image, scribble: colour_distributions._reduced(ScribbledImage(image, scribble, None, 0), 3, 40)[1],
        lambda image, scribble: network._reduced(scribble, (40, 30)),
        asked_of_method,
    ],
    ids=["blocks", "colour distributions", "network", "size"],
)
def test_classes_drawn_in_one_place_all_survive_a_reduction(shrink):
    asked = image({(150, 200): 1, (290, 20): 0}, 300, 400)
    alone = shrink(asked.image, asked.scribble)
    assert alone.shape == (30, 40) and (alone != UNLABELLED).sum() == 2
    asked.scribble[151, 201], asked.scribble[152, 202] = 0, 2
    asked.scribble[290, 20] = UNLABELLED
    labels = shrink(asked.image, asked.scribble)
    found = {label: np.argwhere(labels == label) for label in (0, 1, 2)}
    assert all(len(places) == 1 and np.abs(places - [15, 20]).max() <= 1 for places in found.values())


def test_grabcut_of_three_classes_gives_each_pixel_to_one():
    asked = image({(2, 2): 0, (22, 2): 0, (12, 20): 1, (12, 30): 2})
    asked.image[:, 26:] = 60
    (found,) = method_named("grabcut").segment([asked], 3, CPU)
    assert set(np.unique(found)) <= {0, 1} and (found.argmax(axis=0)[:, :8] == 0).all()
    assert [int(found[:, row, column].argmax()) for row, column in [(12, 20), (12, 30), (2, 2)]] == [1, 2, 0]
