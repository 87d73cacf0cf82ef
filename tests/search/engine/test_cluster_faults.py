"""Searches survive faults of a Ray cluster: lost workers and nodes, hangs, wrong clocks.

All tests share one cluster; a test that removes nodes adds others.
"""

import time
from datetime import datetime
from pathlib import Path

import pytest
from cluster_search import PATIENCE, SPACE, Search
from fake_cluster import FakeCluster, kill_process
from moved_clock import MovedClock, build_library

from search.engine.job_feed import NODE_LEFT
from search.runs.ledger import ledger

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def machines(fork_server):
    """A head and two nodes with one GPU each, shared by two fold trials."""
    cluster = FakeCluster(2, fork_server, PYTHONPATH=str(ROOT))
    yield cluster
    cluster.close()


@pytest.fixture
def joined(machines):
    """The nodes have the code already; sending it, as test_joining_nodes does, would start each worker twice."""
    return {"RAY_ADDRESS": machines.address, "RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {}}'}


@pytest.fixture
def launched(tmp_path, start, machines):
    """Launch the demo with additional parameters, by ``python -m search`` or another program."""
    (tmp_path / "demo.yaml").write_text(SPACE)

    def launch(*parameters, program=("-m", "search")):
        options = [word for parameter in parameters for word in ("--set", f"parameters.{parameter}")]
        return Search(tmp_path, machines, lambda: start(*program, "launch", "demo.yaml", *options))

    return launch


def test_a_worker_dies_then_every_node_and_new_nodes_are_used(launched, machines):
    search = launched()
    kill_process(search.until(search.workers)[0])
    search.until(search.faults)
    search.until(search.workers)
    for node in machines.nodes:
        machines.kill(node)
    new = machines.add()
    search.until(lambda: search.trains_on(new))
    machines.add()
    search.wait()
    search.check()
    first, *others = search.faults()
    assert first != NODE_LEFT and others and set(others) == {NODE_LEFT}


def test_draining_nodes_get_no_new_jobs_and_a_new_node_replaces_them(launched, machines):
    search = launched()
    search.until(search.workers)
    leaving = machines.nodes
    for node in leaving:
        machines.drain(node, seconds=PATIENCE)
    search.until(lambda: not any(search.running().values()))  # refused jobs wait for another node
    assert not search.faults(), "running jobs finish on draining nodes"
    new = machines.add()
    for node in leaving:
        machines.kill(node)
    search.until(lambda: search.trains_on(new))
    machines.add()
    search.wait()
    search.check()
    assert set(search.faults()) <= {NODE_LEFT}


def test_idle_workers_of_a_draining_node_get_no_other_job(launched, machines):
    search = launched()
    leaving = machines.nodes[0]
    search.until(lambda: search.trains_on(leaving))
    machines.drain(leaving, seconds=PATIENCE)
    before = search.started_jobs()
    workers = {worker for worker in before if machines.node_of(worker) == leaving}
    search.wait()
    search.check()
    assert workers and workers.isdisjoint((search.started_jobs() - before).elements()) and not search.faults()
    machines.kill(leaving)
    machines.add()


def test_a_hanging_fold_trial_and_a_node_clock_an_hour_behind_change_nothing(launched, machines, slow_clock):
    machines.kill(machines.nodes[0])
    behind = machines.add_unforked(**slow_clock)
    hang = ("fault={values: [hang], when: {quality: 0.70}}", "fault_step=2", "fault_folds={values: [[0]]}")
    search = launched(*hang, program=(str(ROOT / "tests/support/short_hang_limit.py"),))
    search.until(lambda: search.trains_on(behind))
    search.wait()
    search.check()
    assert len(search.faults()) == 1
    lines = search.run.lines()
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert time.time() - PATIENCE < lines[0].at and ledger(lines).unseen == 0
    assert any(map(hour_behind, search.run.folder.glob("configs/*/fold_*/log.txt"))), "no log has a wrong time"


def hour_behind(log):
    """Whether a log has timestamps about an hour before its first one, which is the driver's."""
    times = [datetime.fromisoformat(line.split()[0]) for line in log.read_text().splitlines() if line.startswith("2")]
    return any((times[0] - time).total_seconds() > 3000 for time in times)


@pytest.fixture(scope="module")
def slow_clock(tmp_path_factory):
    """The environment in which a clock is an hour behind."""
    folder = tmp_path_factory.mktemp("clock")
    try:
        library = build_library(folder)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return MovedClock(library, folder / "clock", -3600).environment
