"""Who is asked about memory stands for every config that the space may come to."""

import random

import pytest

from search.planning.gpu_memory import memory_candidates
from spaces.load import make_space

SPACE = {"name": "demo", "data": "nowhere", "sampler": {"name": "random", "count": 3, "seed": 1}}


def space(**parameters):
    return make_space({**SPACE, "parameters": parameters}, "demo.yaml")


def test_every_config_of_a_grid_is_asked():
    batches = {config.batch_size for config in memory_candidates(space(batch_size={"values": [2, 12, 8]}))}
    assert batches == {2, 8, 12}


@pytest.mark.parametrize("seed", range(20))
def test_nothing_that_can_be_drawn_is_fed_more_than_what_is_asked(seed):
    drawn = space(
        batch_size={"min": 4, "max": 61, "distribution": "int"},
        learning_rate={"min": 1e-4, "max": 1e-2, "distribution": "log_uniform"},
        encoder={"values": ["resnet18", "resnet34"]},
    )
    asked = {config.encoder: config.batch_size for config in memory_candidates(drawn)}
    assert asked == {"resnet18": 61, "resnet34": 61}
    config = drawn.sample(random.Random(seed)).config
    assert config.batch_size <= asked[config.encoder]


def test_where_the_highest_is_forbidden_others_are_asked():
    parameters = {"batch_size": {"min": 4, "max": 8, "distribution": "int"}, "encoder": "resnet18"}
    some = make_space({**SPACE, "parameters": parameters, "forbid": [{"batch_size": 8}]}, "demo.yaml")
    assert max(config.batch_size for config in memory_candidates(some)) == 7
