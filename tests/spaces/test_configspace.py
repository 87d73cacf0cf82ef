"""configspace.json, read back by the ConfigSpace library."""

import json
import random

import pytest
from ConfigSpace import Configuration, ConfigurationSpace
from ConfigSpace.exceptions import ForbiddenValueError
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.configspace import configspace
from spaces.load import load_space, make_space
from spaces.yaml_file.problems import SpaceError


def read_back(space, folder):
    path = folder / "configspace.json"
    path.write_text(json.dumps(configspace(space)))
    return ConfigurationSpace.from_json(path)


def scripted(parameters, forbid=()):
    return make_space(
        {"name": "drawn", "folds": 2, "trainable": "scripted", "sampler": {"name": "random", "count": 3},
         "parameters": parameters, "forbid": list(forbid)}
    )  # fmt: skip


def test_names_values_ranges_and_scales_are_exported(tmp_path):
    space = load_space("beyond", ["data=x"])
    read = read_back(space, tmp_path)
    assert set(read) == set(space.parameters) and read.name == "beyond"
    rate, decay = read["learning_rate"], read["lambda_bce"]
    assert (rate.lower, rate.upper, rate.log) == (5e-4, 2e-2, True) and (decay.lower, decay.upper, decay.log) == (
        0,
        1,
        False,
    )
    size = read["batch_size"]
    assert type(size).__name__ == "UniformIntegerHyperparameter" and (size.lower, size.upper, size.log) == (4, 16, True)
    assert tuple(read["loss"].choices) == ("iou", "dice")
    assert type(read["ema"]).__name__ == "OrdinalHyperparameter" and tuple(read["ema"].sequence) == (
        0,
        0.99,
        0.998,
        0.9995,
    )
    (condition,) = read.conditions
    assert (condition.child.name, condition.parent.name, list(condition.values)) == (
        "warmup_steps", "encoder", ["efficientnet-b2"],
    )  # fmt: skip
    values = dict(read.get_default_configuration())
    assert Configuration(read, values=values)
    with pytest.raises(ForbiddenValueError):
        Configuration(read, values={**values, "encoder": "mobilenetv3_large_100", "augmentation": "high"})


@pytest.mark.parametrize("name", ["full_grid", "encoders", "quickstart"])
def test_every_config_of_a_shipped_grid_is_legal_in_it(tmp_path, name):
    space = load_space(name, ["data=x"])
    read = read_back(space, tmp_path)
    for point in space.configs():
        assert dict(Configuration(read, values=dict(point.values))) == dict(point.values)


@st.composite
def trees(draw):
    """Parameters with conditions on others, on constants and on defaults, and forbidden combinations."""
    names = {"loss": ["iou", "dice"], "pc": [1, 3, 3.8], "augmentation": ["low", "medium", "high"],
             "attention": [None, "scse"], "batch_size": [8, 4], "encoder": ["resnet18", "efficientnet-b2"]}  # fmt: skip
    tree, possible = {"constant": 7}, {"constant": [7, 8]}
    for name in draw(st.permutations(list(names))):
        spec = {"values": draw(st.lists(st.sampled_from(names[name]), min_size=1, unique=True))}
        if draw(st.booleans()):
            spec["when"] = draw(conditions(possible))
        tree[name], possible[name] = spec, names[name]
    return tree, draw(st.lists(conditions(possible), max_size=2))


def conditions(possible):
    one = st.sampled_from(sorted(possible)).flatmap(
        lambda name: st.tuples(st.just(name), st.lists(st.sampled_from(possible[name]), min_size=1, unique=True))
    )
    return st.lists(one, min_size=1, max_size=2).map(dict)


@settings(max_examples=200)
@given(trees())
def test_the_library_has_exactly_the_same_configs(tmp_path_factory, drawn):
    try:
        space = scripted(*drawn)
        ours = {point.id: dict(point.values) for point in space.configs()}
    except SpaceError:
        return  # a condition that can never hold
    if not ours:
        return  # forbid excludes every config
    read = read_back(space, tmp_path_factory.mktemp("space"))
    for values in ours.values():
        assert dict(Configuration(read, values=values)).keys() == values.keys()
    read.seed(0)
    theirs = {}
    sampled = map(plain, read.sample_configuration(200) if len(read) else [])
    for values in {repr(values): values for values in sampled}.values():
        point = space.resolve(values)
        assert point.values.keys() == values.keys()
        theirs[point.id] = point
    assert theirs.keys() <= ours.keys()
    if 0 < len(ours) < 12 and len(read):
        assert theirs.keys() == ours.keys()


def plain(configuration):
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in sorted(dict(configuration).items())
    }


def test_configs_drawn_from_ranges_are_legal_in_it(tmp_path):
    space = load_space("beyond", ["data=x"])
    read, rng = read_back(space, tmp_path), random.Random(0)
    for _ in range(200):
        values = dict(space.sample(rng).values)
        assert dict(Configuration(read, values=values)).keys() == values.keys()
    for configuration in read.sample_configuration(100):
        assert space.resolve(plain(configuration)).values.keys() == dict(configuration).keys()


def test_a_list_is_exported_as_text(tmp_path):
    read = read_back(scripted({"fault_folds": {"values": [[0], [0, 1]]}, "steps": 4}), tmp_path)
    assert tuple(read["fault_folds"].choices) == ("[0]", "[0, 1]")
