"""A machine whose memory is used up: Ray kills the workers there, and they are no crashes."""

from pathlib import Path

import pytest
from aftermath import faults
from fake_cluster import FakeCluster

from search.runs.run_folder import Run

ROOT = Path(__file__).parents[3]
SPACE = """
name: demo
folds: 2
trainable: scripted
parameters: {quality: {values: [0.7]}, steps: 4000, evaluations: 4000, step_seconds: 0.25}
scheduler: grid
resources: {gpu: 0.5, cpu: 1}
"""


@pytest.fixture(scope="module")
def machine():
    """One that Ray takes to be short of memory at all times, and frees some of every second."""
    cluster = FakeCluster(nodes=1, RAY_memory_usage_threshold="0", RAY_memory_monitor_refresh_ms="1000")
    yield cluster
    cluster.close()


@pytest.fixture
def joined(machine):
    return {"RAY_ADDRESS": machine.address}


def test_what_ray_kills_for_want_of_memory_is_tried_again_alone_and_then_given_up_as_that(search, tmp_path):
    (tmp_path / "demo.yaml").write_text(SPACE)
    done = search("launch", "demo.yaml")
    assert done.returncode == 1, done.stderr
    told = faults(Run(tmp_path / "runs/demo"))
    assert told[0] == "its machine ran out of memory, beside others: it is tried again alone"
    assert told[-1] == "out_of_memory: its machine ran out of memory"
    assert set(told) == {told[0], told[-1]}
    status = search("status", "demo")
    assert "failed: out_of_memory: its machine ran out of memory" in status.stdout
