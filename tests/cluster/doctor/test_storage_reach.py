"""A storage that a node does not reach is found out, on nodes whose folders are not the same."""

import os
import threading
from pathlib import Path

import pytest
import ray

from cluster.doctor.node_facts import Folder
from cluster.doctor.storage_reach import asked_aside, check_runs
from trainable.errors import UserError


@pytest.fixture(scope="module")
def nodes():
    """Two nodes that are told apart by an environment variable, which stands for their disks."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1, env_vars={"DISK": "other"})
    ray.init(cluster.address, log_to_driver=False)
    yield
    ray.shutdown()
    cluster.shutdown()


def test_a_folder_that_all_share_is_left_as_it_was(nodes, tmp_path):
    check_runs(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_node_with_a_disk_of_its_own_is_named(nodes, tmp_path):
    def on_its_own_disk(root):
        return Folder(Path(root) / os.environ.get("DISK", "shared"))

    with pytest.raises(UserError, match=r"not every node reaches it: .*does not see there what this machine wrote"):
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

    with pytest.raises(UserError, match="did not answer for 8 s"):
        check_runs(str(tmp_path), lambda root: Hung(tmp_path), patience=8)


def test_a_node_that_comes_is_asked_aside_and_says_what_is_wrong(nodes, tmp_path):
    def on_its_own_disk(root):
        return Folder(Path(root) / os.environ.get("DISK", "shared"))

    answers = []
    for node in check_runs(str(tmp_path)):
        answer = asked_aside(str(tmp_path), node, on_its_own_disk)
        while (words := answer()) is None:
            threading.Event().wait(0.05)
        answers.append(words)
    fine, wrong = sorted(answers)
    assert fine == ""
    assert wrong.startswith(f"--runs {tmp_path}: does not see there what this machine wrote. Name a folder")
