"""Hyperparameters of methods: which exist with which method, ids, reports, and mistakes in one error."""

import pytest

from trainable.config import ImageConfig, describe, make_config, make_image_config
from trainable.errors import UserError
from trainable.images.registry import METHODS, WITH_NETWORK


def test_every_method_of_the_registry_is_a_value_of_method():
    (row,) = (row for row in describe(ImageConfig) if row["name"] == "method")
    assert row["allowed"] == ", ".join(METHODS)


def test_a_config_holds_the_hyperparameters_of_its_method_alone():
    found = make_image_config({"method": "random_walker", "walker_beta": "20"}).model_dump(mode="json")
    assert found == {
        "method": "random_walker",
        "walker_beta": 20.0,
        "size": "original",
        "seed": 0,
        "steps": 100,
        "evaluations": 10,
    }


def test_ids_depend_on_what_decides_a_mask_and_never_change():
    assert make_image_config({}).id == make_image_config({"method": "nearest", "size": "original"}).id
    assert make_image_config({"size": "240x176"}).id == make_image_config({"size": [240, 176]}).id
    assert make_image_config({"method": "grabcut"}).id == "4b03b66f3671"
    assert (
        len({make_image_config(each).id for each in ({}, {"seed": 1}, {"size": "64x48"}, {"method": "grabcut"})}) == 4
    )
    alone = [name for name in METHODS if name not in WITH_NETWORK]
    assert make_config({}).id not in {make_image_config({"method": name}).id for name in alone}
    without = make_image_config({"method": "cnn"}).model_dump(mode="json")
    assert "features" not in without and "features_from" not in without


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        (
            {"method": "nearest", "walker_beta": 1, "grabcut_iterations": 2, "inputs": "colour"},
            [
                "walker_beta: belongs to method = random_walker; here method is nearest, so leave it out",
                "grabcut_iterations: belongs to method = grabcut",
                "inputs: belongs to method = pixelwise or cnn or unet",
            ],
        ),
        (
            {"method": "grab_cut", "evaluations": 0, "walker_bet": 1},
            [
                "Did you mean 'grabcut'?",
                "evaluations = 0",
                "unknown hyperparameter 'walker_bet'. Did you mean 'walker_beta'?",
            ],
        ),
        (
            {"method": "finetune", "features": "encoder", "encoder_weights": "none"},
            ["encoder_weights: random weights say nothing of an image; choose imagenet or a file"],
        ),
        ({"method": "finetune"}, ["features: method = finetune tunes a network; choose encoder or fold"]),
        ({"method": "sam"}, ["sam_weights: method = sam needs the weights of a SAM of size base"]),
        ({"method": "nearest", "features": "encoder"}, ["features: belongs to method = colour_distributions or"]),
        (
            {"method": "unet", "features_from": "r"},
            ["features_from: belongs to features = fold; here features is none"],
        ),
        ({"method": "unet", "inputs": "colour+features"}, ["needs features = encoder or fold; here it is none"]),
        (
            {"method": "cnn", "features": "fold", "encoder": "resnet18"},
            [
                "features_from: is missing; features = fold needs a run",
                "features = fold: are not in inputs = colour+xy; choose colour+xy+features",
                "encoder: belongs to features = encoder",
            ],
        ),
        (
            {
                "method": "finetune",
                "features": "fold",
                "features_from": "r",
                "features_channels": 3,
                "sam_size": "tiny",
            },
            ["features_channels: belongs to method = colour_distributions", "sam_size: belongs to method = sam"],
        ),
        ({"size": "7x8"}, ["size = '7x8': width and height must be at least 8"]),
        ({"size": "auto"}, ["must be 'original' or WIDTHxHEIGHT"]),
        ({"dropout": 1}, ["unknown hyperparameter 'dropout'"]),
    ],
)
def test_all_mistakes_are_in_one_error(values, problems):
    with pytest.raises(UserError) as error:
        make_image_config(values)
    assert all(problem in str(error.value) for problem in problems), error.value


def test_the_network_of_sam_has_its_hyperparameters():
    own = {"sam_size": "huge", "sam_weights": "some/file", "sam_points": 3}
    network = make_image_config({"method": "sam", **own}).network
    assert {name: getattr(network, name) for name in own} == own


def test_every_fold_has_the_same_horizon_whatever_its_images():
    config = make_image_config({"steps": 20, "evaluations": 4})
    assert config.report_steps(20) == [5, 10, 15, 20] and config.report_steps(14) == [5, 10]
    assert [config.images_at(step, 46) for step in (1, 5, 10, 20)] == [2, 12, 23, 46]
    assert [config.images_at(step, 3) for step in (1, 5, 10, 20)] == [1, 1, 2, 3]
