"""A search on three machines survives network links that are cut and restored."""

from pathlib import Path

import pytest
from partitioned_cluster import PATIENCE, RAYLET, Network, PartitionedCluster
from run_outcome import check_end, faults, wait_for

from search.engine.job_feed import NODE_LEFT
from search.runs.run_folder import Run

ROOT = Path(__file__).parents[3]
TRAINS = "ray::demo config"
SPACE = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.72, 0.74, 0.76]}
  steps: 16
  evaluations: 16
  step_seconds: 0.3
scheduler: grid
resources: {gpu: 0, cpu: 1}
"""


@pytest.fixture
def network():
    try:
        created = Network()
    except OSError as error:
        pytest.skip(f"network namespaces are not possible here: {error}")
    yield created
    created.close()


@pytest.fixture
def cluster(network, tmp_path, fork_server):
    created = PartitionedCluster(network, tmp_path, ROOT, fork_server.python, **fork_server.environment)
    yield created
    created.close()


def test_links_are_cut_and_a_node_that_was_given_up_rejoins(cluster, network, tmp_path):
    (tmp_path / "demo.yaml").write_text(SPACE)
    run = Run(tmp_path / "runs/demo")
    driver = cluster.begin(0, cluster.python, "-m", "search", "launch", "demo.yaml", "--address", cluster.address)

    def until(condition):
        wait_for(condition, driver, (tmp_path / "machine-0.txt").read_text)

    until(lambda: network.titles(1, TRAINS) and network.titles(2, TRAINS))
    network.link(2, "down")
    until(lambda: faults(run))
    assert network.titles(2, RAYLET), "Ray still runs on that machine"
    network.link(1, "down")  # permanently: the rest of the search runs on the node that rejoins
    network.link(2, "up")
    until(lambda: not network.titles(2, RAYLET))
    cluster.start_at_last(2)  # as a supervisor on a real machine would do
    until(lambda: network.titles(2, TRAINS))
    assert driver.wait(PATIENCE) == 0, (tmp_path / "machine-0.txt").read_text()
    assert check_end(run, 0.76).reports == 4 * 2 * 16
    assert set(faults(run)) == {NODE_LEFT}
