"""Machines that join a running search and do not see what the others see."""

import os
from pathlib import Path

import pytest
from disturbed import SPACE, Search
from fake_cluster import FakeCluster, kill_process

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def machines():
    cluster = FakeCluster(nodes=1)
    yield cluster
    cluster.close()


@pytest.fixture
def environment(machines, small_cache):
    ours = {"SCRIBBLE_SEARCH_CACHE": str(small_cache), "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    return os.environ | ours | {"RAY_ADDRESS": machines.address}


@pytest.fixture
def stranger(machines):
    """Add a node that does not see a folder."""

    def add(folder):
        try:
            return machines.add_without(folder)
        except PermissionError as problem:
            pytest.skip(str(problem))

    return add


def test_a_machine_without_the_disk_of_the_runs_is_named_and_trains_nothing(machines, stranger, start, tmp_path):
    (tmp_path / "demo.yaml").write_text(SPACE)
    longer = [word for one in ("steps=32", "evaluations=32") for word in ("--set", f"parameters.{one}")]
    search = Search(tmp_path, machines, lambda: start("-m", "search", "launch", "demo.yaml", *longer))
    search.until(search.workers)
    stranger(tmp_path / "runs")
    search.until(lambda: search.says("is left out"))
    for _ in range(2):  # those that take their place may be started wherever Ray finds room
        search.until(lambda: len(search.workers()) == 2)
        kill_process(search.workers()[0])
    talk = search.ends()
    assert talk.count("is left out") == 1
    assert f"is left out: --runs {tmp_path}/runs: does not see there what this machine wrote. Name a folder" in talk
    assert "does not see the run" not in talk, "it was sent nothing"
    search.check()
