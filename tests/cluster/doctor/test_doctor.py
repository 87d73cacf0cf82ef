"""The doctor asks three nodes that only look like machines of their own: what one of them lacks is found out."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GPUS = 2.0
PATIENCE = 150.0  # seconds that a program may take on a busy machine
CARD = {"name": "A card", "memory": 40 * 2**30}


@pytest.fixture(scope="module")
def address():
    """Of a Ray of three nodes, two of which are said to have GPUs."""
    import ray
    from ray._private.authentication.authentication_token_setup import _enable_token_auth
    from ray.cluster_utils import Cluster

    from cluster.connection.token import ensure_token

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
        environment.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        ensure_token()
        _enable_token_auth()
        small = {"num_cpus": 1, "object_store_memory": 150 * 2**20}
        nodes = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
        try:
            for _ in range(2):
                nodes.add_node(**small, num_gpus=int(GPUS))
            nodes.wait_for_nodes()
            ray.init(nodes.address, log_to_driver=False, logging_level=logging.CRITICAL)
            yield nodes.address
        finally:
            ray.shutdown()
            nodes.shutdown()


@pytest.fixture
def third(address):
    """A node with GPUs."""
    import ray

    return max(node["NodeID"] for node in ray.nodes() if "GPU" in node["Resources"])


@pytest.fixture
def examine(address, tmp_path):
    """Examine the cluster with GPUs that are there, but for what a test does to the probe; problems by node."""
    from cluster.doctor.examine import examine
    from cluster.doctor.node_facts import Probe

    def asked(change=lambda node, said: None, now=None, data=None, patience=60.0, probe=Probe):
        class Told(probe):
            def facts(self, node, ask):
                said = super().facts(node, ask)
                said |= {"gpus": [CARD] * 2, "driver": "570.1", "usable_gpus": 2}
                change(node, said)
                self.node = node
                return said

            def now(self):
                return super().now() + (0 if now is None else now(self.node))

        (tmp_path / "runs").mkdir(exist_ok=True)
        nodes, problems = examine(str(tmp_path / "runs"), data, patience, lambda done, total: None, Told)
        assert not list((tmp_path / "runs").iterdir()), "the doctor left something behind"
        return nodes, problems

    return asked


def test_three_sound_nodes(examine, small_folder):
    nodes, problems = examine(data=str(small_folder))
    assert problems == [] and len({node.name for node in nodes}) == 3
    for node in nodes:
        assert not node.silent and node.answered and abs(node.skew) <= node.doubt + 0.1
        assert len(node.said["data"]) == 64 and node.said["cpus"] >= 1
    # The node that this process is on takes the block out of its own memory.
    assert sorted(node.speed is None for node in nodes) == [False, False, True]
    assert sorted(node.ray_gpus for node in nodes) == [0.0, GPUS, GPUS]


def test_what_one_node_says_is_a_problem_of_that_node_and_it_comes_first(examine, third):
    def older(node, said):
        if node == third:
            said["versions"] = {**said["versions"], "torch": "2.11.0"}
            said["code"] = {**said["code"], "search": "another"}

    nodes, problems = examine(older, now=lambda node: 3600.0 if node == third else 0.0)
    assert {problem.node for problem in problems} == {nodes[0].name} and third[:8] in nodes[0].name
    assert [problem.problem.split(" (")[0] for problem in problems] == [
        f"torch is 2.11.0, here {problems[0].hint.split('==')[1].split(chr(39))[0]}",
        "this project is another there",
        "its clock is 3600.0 s ahead",
    ]


def test_a_folder_that_is_another_one_on_some_node_is_found_out(examine, third, tmp_path):
    from cluster.doctor.node_facts import Folder, Probe

    class Elsewhere(Probe):
        @staticmethod
        def open_storage(root):
            import ray

            here = ray.get_runtime_context().get_node_id() == third
            return Folder(Path(root + "-of-its-own" if here else root))

    (tmp_path / "runs-of-its-own").mkdir()
    _, problems = examine(probe=Elsewhere)
    assert [(third[:8] in each.node, each.problem) for each in problems] == [
        (True, "the folder of runs is another one: the node does not see there what this machine wrote")
    ]
    assert not list((tmp_path / "runs-of-its-own").iterdir())


def test_a_node_that_writes_elsewhere_is_found_out(examine, third):
    from cluster.doctor.node_facts import Folder, Probe

    class Lost(Folder):
        def write(self, name, content):
            pass

    class ReadOnly(Probe):
        @staticmethod
        def open_storage(root):
            import ray

            return (Lost if ray.get_runtime_context().get_node_id() == third else Folder)(Path(root))

    _, problems = examine(probe=ReadOnly)
    assert [each.problem for each in problems] == [
        "the folder of runs is another one: this machine does not see there what the node wrote"
    ]


def test_a_storage_that_nobody_can_write_to_is_one_problem(examine):
    from cluster.doctor.node_facts import Probe

    class Away(Probe):
        @staticmethod
        def open_storage(root):
            raise OSError("access denied")

    _, problems = examine(probe=Away)
    assert [(each.node, each.problem.split(": ")[1:]) for each in problems] == [
        ("this machine", ["cannot be written to", "access denied"])
    ]


def test_other_data_under_the_same_path_is_a_problem_and_none_is_not(examine, third, small_folder):
    def elsewhere(node, said):
        said["data"] = "0" * 64 if node == third else None

    _, problems = examine(elsewhere, data=str(small_folder))
    assert [(third[:8] in each.node, each.problem[:32]) for each in problems] == [
        (True, "other data under the same path (")
    ]


def test_a_node_that_hangs_and_one_that_dies_are_told_of_and_the_others_are_examined(examine, third):
    import ray

    head = min(node["NodeID"] for node in ray.nodes() if node["NodeID"] != third)

    def ill(node, said):
        import os
        import time

        if node == third:
            time.sleep(1e6)
        if node == head:
            os._exit(1)

    nodes, problems = examine(ill, patience=8.0)
    by_node = {each.node.split("(")[1][:8]: each.problem for each in problems}
    assert by_node.keys() == {third[:8], head[:8]}
    assert by_node[third[:8]] == "did not answer for 8 s" and by_node[head[:8]].startswith("could not be asked: ")
    assert [bool(node.silent) for node in nodes] == [True, True, False]


@pytest.fixture
def doctor(address, tmp_path):
    def program(*words, **environment):
        command = [sys.executable, "-m", "cluster", "doctor", "--runs", "runs", *words]
        told = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "RAY_ADDRESS": address, **environment}
        return subprocess.run(
            command, cwd=tmp_path, env=told, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    return program


def test_gpus_that_are_only_said_to_be_there_end_it_with_2(doctor, address):
    done = doctor("--format", "json")
    assert done.returncode == 2, done.stderr
    told = json.loads(done.stdout)
    assert [node["ray_gpus"] for node in told["nodes"]] == [GPUS, GPUS, 0.0], "those with problems come first"
    found = [(each["node"], each["problem"]) for each in told["problems"]]
    assert [each for each in found if "GPU" in each[1]] == [
        (node["node"], "Ray deals out 2 GPUs, nvidia-smi finds 0") for node in told["nodes"][:2]
    ]
    assert all(each["hint"] for each in told["problems"])


def test_a_node_gets_the_code_of_this_machine(address, doctor, tmp_path):
    """Code that differs from what nodes have in their PYTHONPATH travels there, so that it is the same after all."""
    for room in ("spaces", "trainable", "search", "cluster", "analysis"):
        shutil.copytree(ROOT / room, tmp_path / "copy" / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "copy/search/fresh.py").write_text('"""New."""\n')
    done = doctor("--format", "json", "--address", address, PYTHONPATH=str(tmp_path / "copy"), RAY_ADDRESS="")
    told = json.loads(done.stdout)
    assert len(told["problems"]) == 2 and "GPUs" in told["problems"][1]["problem"], told["problems"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--address", "127.0.0.1:1"], "127.0.0.1:1: no Ray can be reached there"),
        (["--address", "nonsense"], "--address nonsense: must be HOST:PORT"),
        (["--address", "ray://127.0.0.1:10001"], "--address ray://127.0.0.1:10001: must be HOST:PORT"),
        (["--address", "127.0.0.1:99999"], "--address 127.0.0.1:99999: must be HOST:PORT"),
        (["--data", "nowhere"], "--data nowhere: no such folder here"),
        (["--patience", "0"], "--patience"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_line(doctor, words, message):
    done = doctor(*words)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_a_door_of_something_else_is_told_at_once(doctor):
    with HTTPServer(("", 0), SimpleHTTPRequestHandler) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        done = doctor("--address", f"127.0.0.1:{page.server_port}")
        page.shutdown()
    assert done.returncode == 2 and "what listens there is no Ray" in done.stderr and "Traceback" not in done.stderr


def test_without_an_address_it_examines_this_machine_alone(doctor):
    done = doctor(RAY_ADDRESS="")
    assert "127.0.0.1 (" in done.stdout and "1 node, " in done.stderr
    assert done.returncode == (2 if "Problems" in done.stdout else 0)
