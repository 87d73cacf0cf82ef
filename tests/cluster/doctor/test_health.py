"""The rules of the doctor: no problem for a healthy node, and a message for each problem."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.doctor.health import MAX_SKEW, MIN_FREE, MIN_SPEED, Node, Problem, Reference, ordered, problems_of
from cluster.doctor.node_facts import MARKER_MISSING

VERSIONS = {"python": "3.11.7", "torch": "2.15.0", "ray": "2.60.0"}
CODE = {"search": "aa", "cluster": "bb"}
HERE = Reference(VERSIONS, CODE, "d" * 64)
CARD = {"name": "A100", "memory": 40 * 2**30}
HEALTHY = {
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
NODE = Node("10.0.0.1 (ab)", ray_gpus=2.0, facts=HEALTHY, speed=1e9)


def found(facts=(), here=HERE, **more):
    return [each.problem for each in problems_of([replace(NODE, facts=HEALTHY | dict(facts), **more)], here)]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"data": None},  # a launch sends them
        {"versions": {**VERSIONS, "python": "3.11.9"}},
        {"versions": {**VERSIONS, "torch": "2.15.0+cu128"}},
        {"gpus": [CARD] * 4, "usable_gpus": 4},  # Ray schedules two of them
        {"free_temp": MIN_FREE},
    ],
)
def test_a_healthy_node_has_no_problem(facts):
    assert found(facts) == []


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"versions": {**VERSIONS, "python": "3.12.1"}}, "Python 3.12.1, here 3.11.7"),
        ({"versions": {**VERSIONS, "torch": "2.14.0"}}, "torch is 2.14.0, here 2.15.0"),
        ({"versions": {**VERSIONS, "torch": None}}, "torch is not installed, here 2.15.0"),
        ({"code": {**CODE, "search": "cc"}}, "its copy of this project differs (search)"),
        ({"code": {}}, "its copy of this project differs (search, cluster)"),
        ({"gpus": [CARD], "usable_gpus": 1}, "Ray schedules 2 GPUs, nvidia-smi finds 1"),
        ({"usable_gpus": 1}, "torch can use 1 of 2 GPUs"),
        ({"free_temp": MIN_FREE - 1}, "2.0 GB free for the temp folder"),
        ({"free_cache": 0}, "0.0 GB free for the cache folder"),
        ({"storage": MARKER_MISSING}, f"the folder of runs is not shared: the node {MARKER_MISSING}"),
        ({"storage": "PermissionError: no"}, "the folder of runs cannot be used: PermissionError: no"),
        ({"data": "e" * 64}, "different data under the same path (hash eeeeeeeeeeee, here dddddddddddd)"),
        ({"data": "UserError: contains no split"}, "its data cannot be read: UserError: contains no split"),
    ],
)
def test_each_problem_has_its_message(facts, problem):
    assert found(facts) == [problem]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        # With a round trip of 1 s, 2.4 s may be 1.9 s; with 0.2 s it is at least 2.3 s.
        ({"skew": 2.4, "skew_error": 0.5}, None),
        ({"skew": 2.4, "skew_error": 0.1}, "its clock is 2.4 s ahead"),
        ({"skew": -60.0, "skew_error": 0.1}, "its clock is 60.0 s behind"),
        ({"speed": MIN_SPEED}, None),
        ({"speed": 2e6}, "receives 2.0 MB/s from the object store"),
        ({"speed": None}, None),
        ({"wrote_back": False}, "the folder of runs is not shared: this machine cannot read what the node wrote there"),
        ({"error": "did not answer within 5 s", "facts": {}}, "did not answer within 5 s"),
    ],
)
def test_measurements_from_this_machine_are_checked(more, problem):
    assert [each.problem for each in problems_of([replace(NODE, **more)], HERE)] == ([problem] if problem else [])


@settings(max_examples=300)
@given(
    gpus=st.integers(0, 8),
    ray_gpus=st.integers(0, 8),
    usable=st.integers(0, 8),
    free=st.integers(0, 10**12),
    skew=st.floats(-1e6, 1e6),
    skew_error=st.floats(0, 100),
    speed=st.one_of(st.none(), st.floats(1.0, 1e12)),
    torch=st.sampled_from([None, "2.14.0", "2.15.0", "2.15.0+cpu"]),
    data=st.sampled_from([None, "d" * 64, "e" * 64, "PermissionError: no"]),
    storage=st.sampled_from(["", MARKER_MISSING, "OSError: gone"]),
)
def test_problems_are_attributed_to_their_node_and_have_a_hint(
    gpus, ray_gpus, usable, free, skew, skew_error, speed, torch, data, storage
):
    facts = HEALTHY | {
        "gpus": [CARD] * gpus,
        "usable_gpus": min(usable, gpus),
        "free_temp": free,
        "versions": {**VERSIONS, "torch": torch},
        "data": data,
        "storage": storage,
    }
    node = replace(
        NODE, name="unhealthy", ray_gpus=float(ray_gpus), facts=facts, skew=skew, skew_error=skew_error, speed=speed
    )
    problems = problems_of([NODE, node], HERE)
    healthy = (
        ray_gpus <= gpus
        and usable >= gpus
        and free >= MIN_FREE
        and abs(skew) - skew_error <= MAX_SKEW
        and (speed is None or speed >= MIN_SPEED)
        and (torch or "").startswith("2.15.0")
        and data in (None, "d" * 64)
        and not storage
    )
    assert bool(problems) is not healthy
    assert all(each.node == "unhealthy" and each.problem and each.hint for each in problems)
    assert ordered([NODE, node], problems)[0].name == (NODE.name if healthy else "unhealthy")


def test_a_problem_of_this_machine_does_not_reorder_the_nodes():
    others = [replace(NODE, name=name) for name in "abc"]
    assert ordered(others, [Problem("this machine", "cannot be written to", "name another")]) == others
    assert [node.name for node in ordered(others, [Problem("c", "p", "h"), Problem("b", "p", "h")])] == ["b", "c", "a"]
