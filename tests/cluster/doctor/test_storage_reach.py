"""A storage that a node cannot access is detected, on nodes whose folders differ."""

import os
import threading
from pathlib import Path

import pytest
import ray

from cluster.doctor.node_facts import Folder
from cluster.doctor.storage_reach import check_runs, start_check
from trainable.errors import UserError


@pytest.fixture(scope="module")
def nodes(fork_server):
    """Two nodes with different values of an environment variable, which stands for their disks."""
    from ray.cluster_utils import Cluster

    from cluster.connection.ray_workarounds import few_processes, keep_node

    with few_processes(dashboard=False), fork_server.forking_children():
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1, env_vars={"DISK": "other"})
    for node in cluster.list_all_nodes():
        keep_node(node)
    ray.shutdown()  # of tests that ran before in this process
    ray.init(cluster.address, log_to_driver=False)
    yield
    ray.shutdown()
    cluster.shutdown()


def test_a_shared_folder_is_accepted_and_left_unchanged(nodes, tmp_path):
    check_runs(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_node_with_its_own_disk_is_named(nodes, tmp_path):
    def on_its_own_disk(root):
        return Folder(Path(root) / os.environ.get("DISK", "shared"))

    with pytest.raises(UserError, match=r"not accessible from every node: .*cannot read what this machine wrote there"):
        check_runs(str(tmp_path), on_its_own_disk)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_node_that_cannot_write_is_named_with_the_reason(nodes, tmp_path):
    class Full(Folder):
        def write(self, name, content):
            if os.environ.get("DISK"):
                raise OSError(28, "No space left on device")
            super().write(name, content)

    with pytest.raises(UserError, match="No space left on device"):
        check_runs(str(tmp_path), lambda root: Full(tmp_path))


def test_a_node_on_which_the_storage_hangs_is_named(nodes, tmp_path):
    class Hung(Folder):
        def read(self, name):
            if os.environ.get("DISK"):
                threading.Event().wait()
            return super().read(name)

    with pytest.raises(UserError, match="did not answer within 8 s"):
        check_runs(str(tmp_path), lambda root: Hung(tmp_path), patience=8)


def test_a_node_that_joins_is_checked_in_the_background(nodes, tmp_path):
    def on_its_own_disk(root):
        return Folder(Path(root) / os.environ.get("DISK", "shared"))

    problems = []
    for node in check_runs(str(tmp_path)):
        poll = start_check(str(tmp_path), node, on_its_own_disk)
        while (problem := poll()) is None:
            threading.Event().wait(0.05)
        problems.append(problem)
    none, problem = sorted(problems)
    assert none == ""
    assert problem.startswith(f"--runs {tmp_path}: cannot read what this machine wrote there. Use a folder")
