"""Nodes that join a running search but lack its shared folders or cannot start workers."""

import shutil
from pathlib import Path

import pytest
from cluster_search import SPACE, Search
from fake_cluster import FakeCluster, kill_process

from trainable.data.dataset import open_split

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def machines(fork_server):
    cluster = FakeCluster(1, fork_server)
    yield cluster
    cluster.close()


@pytest.fixture
def joined(machines):
    return {"RAY_ADDRESS": machines.address}


@pytest.fixture
def add_node_without(machines):
    """Add a node that does not see a folder."""

    def add(folder, **environment):
        try:
            return machines.add_without(folder, **environment)
        except PermissionError as error:
            pytest.skip(str(error))

    return add


TRAINING = """
name: real
folds: 2
parameters: {encoder: test_resnet, attention: null, batch_size: 4, steps: 4, evaluations: 2}
resources: {gpu: 0, cpu: 1}
"""


@pytest.fixture
def launched(machines, start, tmp_path):
    (tmp_path / "demo.yaml").write_text(SPACE)
    long = ("--set", "parameters.steps=4000", "--set", "parameters.evaluations=4000")
    return lambda: Search(tmp_path, machines, lambda: start("-m", "search", "launch", "demo.yaml", *long))


def test_a_node_that_does_not_see_the_runs_is_named_and_excluded(machines, add_node_without, launched, tmp_path):
    search = launched()
    search.until(search.workers)
    add_node_without(tmp_path / "runs")
    search.until(lambda: search.has_printed("is excluded"))
    for _ in range(2):  # Ray may start their replacements on any node
        search.until(lambda: len(search.workers()) == 2)
        kill_process(search.workers()[0])
    search.until(lambda: len(search.workers()) == 2)
    stderr = search.stop()
    assert stderr.count("is excluded") == 1
    assert f"is excluded: --runs {tmp_path}/runs: cannot read what this machine wrote there. Use a folder" in stderr
    assert "does not see the run" not in stderr, "no job was sent to the node"
    machines.kill(machines.nodes[-1])


def test_a_node_that_cannot_start_workers_is_named_and_excluded(machines, launched, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['trainable.scripted'] = None")
    search = launched()
    search.until(search.workers)
    machines.add(PYTHONPATH=f"{tmp_path}:{ROOT}")
    search.until(lambda: search.has_printed("is excluded"))
    stderr = search.stop()
    assert stderr.count("is excluded: 3 workers in a row failed to start; last error: ModuleNotFound") == 1
    assert not search.faults(), "no fault counts against a fold trial"


def test_data_are_shipped_to_a_node_that_does_not_see_them(machines, add_node_without, search, small_folder, tmp_path):
    data = shutil.copytree(small_folder, tmp_path / "data")
    (tmp_path / "real.yaml").write_text(TRAINING + f"data: {data}\n")
    joined_node = add_node_without(data, SCRIBBLE_SEARCH_CACHE=str(tmp_path / "there"))
    for node in machines.nodes:
        if node != joined_node:
            machines.kill(node)
    done = search("launch", "real.yaml")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/real/configs/*/fold_*/scores.json"))) == 2
    (shipped,) = (path for path in tmp_path.glob("there/data/*") if path.is_dir())
    assert open_split(shipped).hash == open_split(small_folder).hash
