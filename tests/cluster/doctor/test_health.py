"""What the doctor makes of the facts: nothing of a sound node, and each fault by its own words."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.doctor.health import LEAST_FREE, LEAST_SPEED, MOST_SKEW, Node, Problem, Reference, ordered, problems_of
from cluster.doctor.node_facts import OTHER_FOLDER

VERSIONS = {"python": "3.11.7", "torch": "2.15.0", "ray": "2.60.0"}
CODE = {"search": "aa", "cluster": "bb"}
HERE = Reference(VERSIONS, CODE, "d" * 64)
CARD = {"name": "A100", "memory": 40 * 2**30}
SOUND = {
    "host": "a",
    "cpus": 8,
    "memory": 2**35,
    "gpus": [CARD, CARD],
    "driver": "570.1",
    "usable_gpus": 2,
    "versions": VERSIONS,
    "code": CODE,
    "free_temp": 10**11,
    "free_cache": 10**11,
    "storage": "",
    "data": "d" * 64,
}
NODE = Node("10.0.0.1 (ab)", ray_gpus=2.0, said=SOUND, speed=1e9)


def told(said=(), here=HERE, **more):
    return [each.problem for each in problems_of([replace(NODE, said=SOUND | dict(said), **more)], here)]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"data": None},  # it will be sent
        {"versions": {**VERSIONS, "python": "3.11.9"}},
        {"versions": {**VERSIONS, "torch": "2.15.0+cu128"}},
        {"gpus": [CARD] * 4, "usable_gpus": 4},  # Ray was told to deal out two of them
        {"free_temp": LEAST_FREE},
    ],
)
def test_a_sound_node_has_no_problem(said):
    assert told(said) == []


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"versions": {**VERSIONS, "python": "3.12.1"}}, "Python 3.12.1, here 3.11.7"),
        ({"versions": {**VERSIONS, "torch": "2.14.0"}}, "torch is 2.14.0, here 2.15.0"),
        ({"versions": {**VERSIONS, "torch": None}}, "torch is not installed, here 2.15.0"),
        ({"code": {**CODE, "search": "cc"}}, "this project is another there (search)"),
        ({"code": {}}, "this project is another there (search, cluster)"),
        ({"gpus": [CARD], "usable_gpus": 1}, "Ray deals out 2 GPUs, nvidia-smi finds 1"),
        ({"usable_gpus": 1}, "torch can use 1 of 2 GPUs"),
        ({"free_temp": LEAST_FREE - 1}, "2.0 GB left for the temp folder"),
        ({"free_cache": 0}, "0.0 GB left for the cache folder"),
        ({"storage": OTHER_FOLDER}, f"the folder of runs is another one: the node {OTHER_FOLDER}"),
        ({"storage": "PermissionError: no"}, "the folder of runs cannot be used there: PermissionError: no"),
        ({"data": "e" * 64}, "other data under the same path (hash eeeeeeeeeeee, here dddddddddddd)"),
        ({"data": "UserError: holds no split"}, "the data there cannot be read: UserError: holds no split"),
    ],
)
def test_each_fault_has_its_words(said, problem):
    assert told(said) == [problem]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        # Asked over 1 s there and back, 2.4 s may be 1.9 s; over 0.2 s it is 2.3 s at least.
        ({"skew": 2.4, "doubt": 0.5}, None),
        ({"skew": 2.4, "doubt": 0.1}, "its clock is 2.4 s ahead"),
        ({"skew": -60.0, "doubt": 0.1}, "its clock is 60.0 s behind"),
        ({"speed": LEAST_SPEED}, None),
        ({"speed": 2e6}, "gets 2.0 MB a second from the object store"),
        ({"speed": None}, None),
        ({"answered": False}, "the folder of runs is another one: this machine does not see there what the node wrote"),
        ({"silent": "did not answer for 5 s", "said": {}}, "did not answer for 5 s"),
    ],
)
def test_what_is_measured_from_here_is_judged_too(more, problem):
    found = [each.problem for each in problems_of([replace(NODE, **more)], HERE)]
    assert found == ([problem] if problem else [])


@settings(derandomize=True, max_examples=300)
@given(
    gpus=st.integers(0, 8),
    ray_gpus=st.integers(0, 8),
    usable=st.integers(0, 8),
    free=st.integers(0, 10**12),
    skew=st.floats(-1e6, 1e6),
    doubt=st.floats(0, 100),
    speed=st.one_of(st.none(), st.floats(1.0, 1e12)),
    torch=st.sampled_from([None, "2.14.0", "2.15.0", "2.15.0+cpu"]),
    data=st.sampled_from([None, "d" * 64, "e" * 64, "PermissionError: no"]),
    storage=st.sampled_from(["", OTHER_FOLDER, "OSError: gone"]),
)
def test_whatever_a_node_says_is_judged_by_itself_and_every_problem_has_a_hint(
    gpus, ray_gpus, usable, free, skew, doubt, speed, torch, data, storage
):
    said = SOUND | {
        "gpus": [CARD] * gpus,
        "usable_gpus": min(usable, gpus),
        "free_temp": free,
        "versions": {**VERSIONS, "torch": torch},
        "data": data,
        "storage": storage,
    }
    node = replace(NODE, name="ill", ray_gpus=float(ray_gpus), said=said, skew=skew, doubt=doubt, speed=speed)
    found = problems_of([NODE, node], HERE)
    sound = (
        ray_gpus <= gpus
        and usable >= gpus
        and free >= LEAST_FREE
        and abs(skew) - doubt <= MOST_SKEW
        and (speed is None or speed >= LEAST_SPEED)
        and (torch or "").startswith("2.15.0")
        and data in (None, "d" * 64)
        and not storage
    )
    assert bool(found) is not sound
    assert all(each.node == "ill" and each.problem and each.hint for each in found)
    assert ordered([NODE, node], found)[0].name == (NODE.name if sound else "ill")


def test_a_problem_of_no_node_moves_none():
    others = [replace(NODE, name=name) for name in "abc"]
    assert ordered(others, [Problem("this machine", "cannot be written to", "name another")]) == others
    assert [node.name for node in ordered(others, [Problem("c", "p", "h"), Problem("b", "p", "h")])] == ["b", "c", "a"]
