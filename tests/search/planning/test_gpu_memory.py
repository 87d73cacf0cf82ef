"""The memory candidates of a space include configs at least as large as any config that it can propose."""

import random

import pytest

from search.planning.gpu_memory import memory_candidates
from spaces.load import make_space

SPACE = {"name": "demo", "data": "nowhere", "sampler": {"name": "random", "count": 3, "seed": 1}}


def space(**parameters):
    return make_space({**SPACE, "parameters": parameters}, "demo.yaml")


def test_every_config_of_a_grid_is_a_candidate():
    batches = {config.batch_size for config in memory_candidates(space(batch_size={"values": [2, 12, 8]}))}
    assert batches == {2, 8, 12}


@pytest.mark.parametrize("seed", range(20))
def test_no_drawn_config_has_larger_batches_than_the_candidates(seed):
    drawn = space(
        batch_size={"min": 4, "max": 61, "distribution": "int"},
        learning_rate={"min": 1e-4, "max": 1e-2, "distribution": "log_uniform"},
        encoder={"values": ["resnet18", "resnet34"]},
    )
    candidates = {config.encoder: config.batch_size for config in memory_candidates(drawn)}
    assert candidates == {"resnet18": 61, "resnet34": 61}
    config = drawn.sample(random.Random(seed)).config
    assert config.batch_size <= candidates[config.encoder]


def test_other_candidates_are_drawn_if_the_largest_is_forbidden():
    parameters = {"batch_size": {"min": 4, "max": 8, "distribution": "int"}, "encoder": "resnet18"}
    restricted = make_space({**SPACE, "parameters": parameters, "forbid": [{"batch_size": 8}]}, "demo.yaml")
    assert max(config.batch_size for config in memory_candidates(restricted)) == 7
