"""Ray kills workers on a node that is out of memory; they do not count as crashes."""

from pathlib import Path

import pytest
from fake_cluster import FakeCluster
from run_outcome import faults

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
def machine(fork_server):
    """A node that Ray always considers short of memory, so that it kills a worker every second."""
    cluster = FakeCluster(1, fork_server, RAY_memory_usage_threshold="0", RAY_memory_monitor_refresh_ms="1000")
    yield cluster
    cluster.close()


@pytest.fixture
def joined(machine):
    return {"RAY_ADDRESS": machine.address}


def test_a_worker_killed_for_lack_of_memory_is_retried_alone_and_then_fails(search, tmp_path):
    (tmp_path / "demo.yaml").write_text(SPACE)
    done = search("launch", "demo.yaml")
    assert done.returncode == 1, done.stderr
    found = faults(Run(tmp_path / "runs/demo"))
    assert found[0] == "its node ran out of memory while other jobs were running: retried alone"
    assert found[-1] == "out_of_memory: its node ran out of memory"
    assert set(found) == {found[0], found[-1]}
    status = search("status", "demo")
    assert "failed: out_of_memory: its node ran out of memory" in status.stdout
