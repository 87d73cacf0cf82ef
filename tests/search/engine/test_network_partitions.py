"""Three machines with addresses of their own, and links between them that are cut in the middle of a search and heal.

Each machine is a network namespace; they meet at a bridge in a fourth one, so that nothing of the host's network is
touched, and a namespace that goes takes its links along.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from aftermath import check_end, faults, wait_for

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
  steps: 24
  evaluations: 24
  step_seconds: 0.3
scheduler: grid
resources: {gpu: 0, cpu: 1}
"""
# A link that is cut is noticed in seconds, and not in the minute that Ray grants by itself.
HASTY = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """Namespaces that reach each other, numbered from 0."""

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

    def titles(self, number, words):
        """Of the processes of a machine, those with these words in them."""
        titles = []
        for process in self.pids(number):
            with suppress(OSError):
                titles.append(Path(f"/proc/{process}/cmdline").read_bytes().decode())
        return [title for title in titles if words in title]

    def close(self):
        for space in self.machines:
            ip("netns", "delete", space)
        ip("netns", "delete", self.bridge)


@pytest.fixture
def network():
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need iproute2")
    try:
        made = Network()
    except OSError as problem:
        pytest.skip(f"network namespaces are not allowed here: {problem}")
    yield made
    made.close()


class Cluster:
    """A Ray of a head, which drives and does not train, and two machines of two cores."""

    def __init__(self, network, folder, here):
        self.network, self.folder, self.here, self.processes = network, folder, here, []
        ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
        self.environment = os.environ | HASTY | ours | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        self.address = f"{network.address(0)}:6379"

    def begin(self, number, *words):
        """Run something on a machine."""
        command = ["ip", "netns", "exec", self.network.machines[number], *words]
        with (self.here / f"machine-{number}.txt").open("a") as talk:
            process = subprocess.Popen(command, cwd=self.here, env=self.environment, stdout=talk, stderr=talk)
        self.processes.append(process)
        return process

    def start(self, number):
        """Start Ray on a machine; each but the head's has a /tmp/ray of its own, as a machine has."""
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--node-ip-address", self.network.address(number)]
        if number == 0:
            more = ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}"]
            return self.begin(0, *ray, *more)
        more = [f"--address={self.address}", "--num-cpus=2"]
        own = f'mount -t tmpfs none {self.folder} && exec "$@"'
        return self.begin(number, "sh", "-c", own, "sh", *ray, *more)

    def launch(self):
        return self.begin(0, sys.executable, "-m", "search", "launch", "demo.yaml", "--address", self.address)

    def close(self):
        for number in range(len(self.network.machines)):
            for process in self.network.pids(number):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def cluster(network, tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the paths of sockets must be short
    made = Cluster(network, folder, tmp_path)
    try:
        for _ in range(3):
            network.add()
        assert made.start(0).wait(PATIENCE) == 0
        for starting in [made.start(number) for number in (1, 2)]:
            assert starting.wait(PATIENCE) == 0
        yield made
    finally:
        made.close()


def test_links_are_cut_and_one_heals_and_the_machine_that_was_given_up_comes_back(cluster, network, tmp_path):
    (tmp_path / "demo.yaml").write_text(SPACE)
    run, driver = Run(tmp_path / "runs/demo"), cluster.launch()

    def until(condition):
        wait_for(condition, driver, (tmp_path / "machine-0.txt").read_text)

    until(lambda: network.titles(1, TRAINS) and network.titles(2, TRAINS))
    network.link(2, "down")
    until(lambda: faults(run))
    assert network.titles(2, RAYLET), "the machine itself is well"
    network.link(1, "down")  # for good: whatever is left to do, it is for the one that comes back
    network.link(2, "up")
    until(lambda: not network.titles(2, RAYLET))
    assert cluster.start(2).wait(PATIENCE) == 0, "as whatever keeps Ray running on a machine would"
    until(lambda: network.titles(2, TRAINS))
    assert driver.wait(PATIENCE) == 0, (tmp_path / "machine-0.txt").read_text()
    assert check_end(run, 0.76).reports == 4 * 2 * 24
    assert set(faults(run)) == {"its machine left the cluster"}
