"""Spaces of methods on single images: conditions between method and hyperparameters, sizes, and mistakes."""

import pytest

from spaces.summary import summary
from spaces.yaml_file.problems import SpaceError
from trainable.config import make_config, make_image_config

IMAGES = """\
name: images
data: somewhere
trainable: image
parameters:
  method: {values: [nearest, grabcut, random_walker]}
  walker_beta: {min: 10, max: 1000, distribution: log_uniform, when: {method: random_walker}}
  grabcut_iterations: {values: [1, 5], when: {method: grabcut}}
  size: {values: [original, 240x176]}
sampler: {name: random, count: 5}
"""


def test_configs_are_those_of_methods_with_only_what_belongs_to_each(load):
    space = load(
        IMAGES, "  walker_beta: {min: 10, max: 1000, distribution: log_uniform, when: {method: random_walker}}\n"
    )
    points = space.configs()
    assert len(points) == (1 + 1 + 2) * 2
    assert {point.id for point in points} >= {make_image_config({}).id, make_image_config({"size": "240x176"}).id}
    assert ("trainable", "image") in summary(space)
    assert not {point.id for point in points} & {make_config({}).id}


def test_a_space_survives_being_written_and_read(load):
    from spaces.load import make_space

    space = load(IMAGES)
    assert make_space(space.canonical()).difference(space) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("grabcut, random_walker]", "grabcutt, random_walker]", "Did you mean 'grabcut'?"),
        (", when: {method: grabcut}", "", "belongs to method = grabcut alone: write {when: {method: [grabcut]}}"),
        ("  size: {values: [original, 240x176]}", "  dropout: 0.1", "unknown hyperparameter"),
        ("240x176", "auto", "must be 'original' or WIDTHxHEIGHT"),
        ("data: somewhere\n", "", "data"),
        ("min: 10", "min: -10", "greater than or equal to 0"),
    ],
)
def test_a_mistake_is_found_when_the_file_is_read(load, old, new, problem):
    with pytest.raises(SpaceError) as error:
        load(IMAGES, old, new)
    assert problem in str(error.value)
