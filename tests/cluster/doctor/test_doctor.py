"""The doctor examines three simulated nodes on one machine and finds what one of them lacks."""

import json
import logging
import os
import shutil
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from forked_child import CHILDREN

ROOT = Path(__file__).parents[3]
GPUS = 2.0
TIMEOUT = 150.0  # seconds, on a busy machine
CARD = {"name": "A card", "memory": 40 * 2**30}


@pytest.fixture(scope="module")
def address(fork_server):
    """The address of a Ray with three nodes, two of which claim to have GPUs."""
    import ray
    from ray._private.authentication.authentication_token_setup import _enable_token_auth
    from ray.cluster_utils import Cluster

    from cluster.connection.ray_workarounds import few_processes, keep_node
    from cluster.connection.token import ensure_token

    with pytest.MonkeyPatch.context() as environment, few_processes(dashboard=False), fork_server.forking_children():
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
            for node in nodes.list_all_nodes():
                keep_node(node)
            ray.shutdown()  # of tests that ran before in this process
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
    """Examine the cluster as if its GPUs were present, with the changes that a test makes to the facts."""
    from cluster.doctor.examine import examine
    from cluster.doctor.node_facts import Probe

    def run(change=lambda node, facts: None, now=None, data=None, patience=60.0, probe=Probe):
        class ChangedProbe(probe):
            def facts(self, node, request):
                facts = super().facts(node, request)
                facts |= {"gpus": [CARD] * 2, "driver": "570.1", "usable_gpus": 2}
                change(node, facts)
                self.node = node
                return facts

            def now(self):
                return super().now() + (0 if now is None else now(self.node))

        (tmp_path / "runs").mkdir(exist_ok=True)
        nodes, problems = examine(str(tmp_path / "runs"), data, patience, lambda done, total: None, ChangedProbe)
        assert not list((tmp_path / "runs").iterdir()), "the doctor left files behind"
        return nodes, problems

    return run


def test_three_healthy_nodes(examine, small_folder):
    nodes, problems = examine(data=str(small_folder))
    assert problems == [] and len({node.name for node in nodes}) == 3
    for node in nodes:
        assert not node.error and node.wrote_back and abs(node.skew) <= node.skew_error + 0.1
        assert len(node.facts["data"]) == 64 and node.facts["cpus"] >= 1
    # The node that this process is on reads the block from its own memory.
    assert sorted(node.speed is None for node in nodes) == [False, False, True]
    assert sorted(node.ray_gpus for node in nodes) == [0.0, GPUS, GPUS]


def test_the_problems_of_a_node_are_attributed_to_it_and_it_comes_first(examine, third):
    def older(node, facts):
        if node == third:
            facts["versions"] = {**facts["versions"], "torch": "2.11.0"}
            facts["code"] = {**facts["code"], "search": "another"}

    nodes, problems = examine(older, now=lambda node: 3600.0 if node == third else 0.0)
    assert {problem.node for problem in problems} == {nodes[0].name} and third[:8] in nodes[0].name
    assert [problem.problem.split(" (")[0] for problem in problems] == [
        f"torch is 2.11.0, here {problems[0].hint.split('==')[1].split(chr(39))[0]}",
        "its copy of this project differs",
        "its clock is 3600.0 s ahead",
    ]


def test_a_folder_that_one_node_does_not_share_is_detected(examine, third, tmp_path):
    from cluster.doctor.node_facts import Folder, Probe

    class Elsewhere(Probe):
        @staticmethod
        def open_storage(root):
            import ray

            here = ray.get_runtime_context().get_node_id() == third
            return Folder(Path(root + "-local" if here else root))

    (tmp_path / "runs-local").mkdir()
    _, problems = examine(probe=Elsewhere)
    assert [(third[:8] in each.node, each.problem) for each in problems] == [
        (True, "the folder of runs is not shared: the node cannot read what this machine wrote there")
    ]
    assert not list((tmp_path / "runs-local").iterdir())


def test_a_node_whose_writes_are_lost_is_detected(examine, third):
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
        "the folder of runs is not shared: this machine cannot read what the node wrote there"
    ]


def test_a_storage_that_cannot_be_written_to_is_one_problem(examine):
    from cluster.doctor.node_facts import Probe

    class Away(Probe):
        @staticmethod
        def open_storage(root):
            raise OSError("access denied")

    _, problems = examine(probe=Away)
    assert [(each.node, each.problem.split(": ")[1:]) for each in problems] == [
        ("this machine", ["cannot be written to", "access denied"])
    ]


def test_different_data_under_the_same_path_are_a_problem_and_missing_data_are_not(examine, third, small_folder):
    def elsewhere(node, facts):
        facts["data"] = "0" * 64 if node == third else None

    _, problems = examine(elsewhere, data=str(small_folder))
    assert [(third[:8] in each.node, each.problem[:36]) for each in problems] == [
        (True, "different data under the same path (")
    ]


def test_nodes_that_hang_or_die_are_reported_and_the_others_are_examined(examine, third):
    import ray

    head = min(node["NodeID"] for node in ray.nodes() if node["NodeID"] != third)

    def ill(node, facts):
        import os
        import time

        if node == third:
            time.sleep(1e6)
        if node == head:
            os._exit(1)

    nodes, problems = examine(ill, patience=8.0)
    by_node = {each.node.split("(")[1][:8]: each.problem for each in problems}
    assert by_node.keys() == {third[:8], head[:8]}
    assert by_node[third[:8]] == "did not answer within 8 s" and by_node[head[:8]].startswith("could not be probed: ")
    assert [bool(node.error) for node in nodes] == [True, True, False]


@pytest.fixture
def doctor(address, tmp_path, fork_server):
    def program(*words, **environment):
        command = ["-m", "cluster", "doctor", "--runs", "runs", *words]
        environ = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "RAY_ADDRESS": address, CHILDREN: "1"}
        return fork_server.run(command, tmp_path, environ | environment, timeout=TIMEOUT)

    return program


def test_missing_gpus_give_exit_code_2(doctor, address):
    done = doctor("--format", "json")
    assert done.returncode == 2, done.stderr
    document = json.loads(done.stdout)
    assert [node["ray_gpus"] for node in document["nodes"]] == [GPUS, GPUS, 0.0], "nodes with problems come first"
    found = [(each["node"], each["problem"]) for each in document["problems"]]
    assert [each for each in found if "GPU" in each[1]] == [
        (node["node"], "Ray schedules 2 GPUs, nvidia-smi finds 0") for node in document["nodes"][:2]
    ]
    assert all(each["hint"] for each in document["problems"])


def test_a_node_gets_the_code_of_this_machine(address, doctor, tmp_path):
    """A launch sends this machine's code to nodes with another copy in their PYTHONPATH."""
    for room in ("spaces", "trainable", "search", "cluster", "analysis"):
        shutil.copytree(ROOT / room, tmp_path / "copy" / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "copy/search/added.py").write_text('"""New."""\n')
    done = doctor("--format", "json", "--address", address, PYTHONPATH=str(tmp_path / "copy"), RAY_ADDRESS="")
    document = json.loads(done.stdout)
    assert len(document["problems"]) == 2 and "GPUs" in document["problems"][1]["problem"], document["problems"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--address", "127.0.0.1:1"], "127.0.0.1:1: unreachable"),
        (["--address", "nonsense"], "--address nonsense: must be HOST:PORT"),
        (["--address", "ray://127.0.0.1:10001"], "--address ray://127.0.0.1:10001: must be HOST:PORT"),
        (["--address", "127.0.0.1:99999"], "--address 127.0.0.1:99999: must be HOST:PORT"),
        (["--data", "nowhere"], "--data nowhere: no such folder on this machine"),
        (["--patience", "0"], "--patience"),
    ],
)
def test_wrong_options_are_reported_in_one_line(doctor, words, message):
    done = doctor(*words)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_not_ray_is_reported_at_once(doctor):
    with HTTPServer(("", 0), SimpleHTTPRequestHandler) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        done = doctor("--address", f"127.0.0.1:{page.server_port}")
        page.shutdown()
    assert done.returncode == 2 and "this is not Ray's GCS port" in done.stderr and "Traceback" not in done.stderr


def test_without_an_address_it_examines_this_machine_only(doctor):
    done = doctor(RAY_ADDRESS="")
    assert "127.0.0.1 (" in done.stdout and "1 node, " in done.stderr
    assert done.returncode == (2 if "Problems" in done.stdout else 0)
