"""A search on three machines survives network links that are cut and restored.

Each machine is a network namespace. A bridge in a fourth namespace connects them, so the network of the host stays
untouched, and deleting a namespace deletes its links.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from run_outcome import check_end, faults, wait_for

from search.engine.job_feed import NODE_LEFT
from search.runs.run_folder import Run

ROOT = Path(__file__).parents[3]
PATIENCE = 120.0
TRAINS, RAYLET = "ray::demo config", "--raylet_socket_name"
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
# Ray notices a cut link after seconds instead of a minute.
FAST_HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """Namespaces that can reach each other, numbered from 0."""

    def __init__(self):
        self.name, self.subnet = f"sst{os.getpid()}", f"10.213.{os.getpid() % 250}"
        self.bridge, self.machines = f"{self.name}-bridge", []
        ip("netns", "add", self.bridge)
        try:
            ip("-n", self.bridge, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.bridge, "link", "set", "bridge", "up")
        except OSError:
            self.close()
            raise

    def add(self):
        number = len(self.machines)
        space = f"{self.name}-{number}"
        ip("netns", "add", space)
        self.machines.append(space)
        ip("-n", self.bridge, "link", "add", f"to{number}", "type", "veth", "peer", "name", "eth", "netns", space)
        ip("-n", self.bridge, "link", "set", f"to{number}", "master", "bridge", "up")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "address", "add", f"{self.address(number)}/24", "dev", "eth")
        ip("-n", space, "link", "set", "eth", "up")

    def address(self, number):
        return f"{self.subnet}.{number + 1}"

    def link(self, number, state):
        ip("-n", self.bridge, "link", "set", f"to{number}", state)

    def pids(self, number):
        return [int(line) for line in ip("netns", "pids", self.machines[number]).split()]

    def titles(self, number, text):
        """The command lines of a machine's processes that contain a text."""
        titles = []
        for process in self.pids(number):
            with suppress(OSError):
                titles.append(Path(f"/proc/{process}/cmdline").read_bytes().decode())
        return [title for title in titles if text in title]

    def close(self):
        for space in self.machines:
            ip("netns", "delete", space)
        ip("netns", "delete", self.bridge)


@pytest.fixture
def network():
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need iproute2")
    try:
        created = Network()
    except OSError as error:
        pytest.skip(f"network namespaces are not allowed here: {error}")
    yield created
    created.close()


class Cluster:
    """A Ray cluster of a head, which only drives, and two machines with two cores each."""

    def __init__(self, network, folder, here, fork_server):
        self.python = fork_server.python
        self.network, self.folder, self.here, self.processes = network, folder, here, []
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
        own |= {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"} | fork_server.environment
        self.environment = os.environ | FAST_HEALTH_CHECKS | own
        self.address = f"{network.address(0)}:6379"

    def begin(self, number, *arguments):
        """Start a program on a machine."""
        command = ["ip", "netns", "exec", self.network.machines[number], *arguments]
        with (self.here / f"machine-{number}.txt").open("a") as talk:
            process = subprocess.Popen(command, cwd=self.here, env=self.environment, stdout=talk, stderr=talk)
        self.processes.append(process)
        return process

    def start(self, number):
        """Start Ray on a machine; every machine but the head gets a private /tmp/ray."""
        ray = [self.python, "-m", "ray.scripts.scripts", "start", "--node-ip-address", self.network.address(number)]
        if number == 0:
            head = ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}"]
            return self.begin(0, *ray, *head)
        script = f'mount -t tmpfs none {self.folder} && exec "$@"'
        return self.begin(number, "sh", "-c", script, "sh", *ray, f"--address={self.address}", "--num-cpus=2")

    def launch(self):
        return self.begin(0, self.python, "-m", "search", "launch", "demo.yaml", "--address", self.address)

    def close(self):
        for number in range(len(self.network.machines)):
            for process in self.network.pids(number):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def cluster(network, tmp_path, fork_server):
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # socket paths must be short
    created = Cluster(network, folder, tmp_path, fork_server)
    try:
        for _ in range(3):
            network.add()
        assert created.start(0).wait(PATIENCE) == 0
        for starting in [created.start(number) for number in (1, 2)]:
            assert starting.wait(PATIENCE) == 0
        yield created
    finally:
        created.close()


def test_links_are_cut_and_a_node_that_was_given_up_rejoins(cluster, network, tmp_path):
    (tmp_path / "demo.yaml").write_text(SPACE)
    run, driver = Run(tmp_path / "runs/demo"), cluster.launch()

    def until(condition):
        wait_for(condition, driver, (tmp_path / "machine-0.txt").read_text)

    until(lambda: network.titles(1, TRAINS) and network.titles(2, TRAINS))
    network.link(2, "down")
    until(lambda: faults(run))
    assert network.titles(2, RAYLET), "Ray still runs on that machine"
    network.link(1, "down")  # permanently: the rest of the search runs on the node that rejoins
    network.link(2, "up")
    until(lambda: not network.titles(2, RAYLET))
    assert cluster.start(2).wait(PATIENCE) == 0, "Ray is restarted, as a supervisor on a real machine would do"
    until(lambda: network.titles(2, TRAINS))
    assert driver.wait(PATIENCE) == 0, (tmp_path / "machine-0.txt").read_text()
    assert check_end(run, 0.76).reports == 4 * 2 * 16
    assert set(faults(run)) == {NODE_LEFT}
