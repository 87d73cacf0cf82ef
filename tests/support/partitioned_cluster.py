"""A Ray cluster whose machines are network namespaces, so that links between them can be cut.

A bridge in a namespace of its own connects them, so the network of the host stays untouched, and deleting a namespace
deletes its links.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

PATIENCE = 300.0  # seconds to wait for the start of Ray on a busy machine
RAYLET = "--raylet_socket_name"
# Ray notices a cut link after seconds instead of a minute.
FAST_HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """Namespaces that can reach each other, numbered from 0; OSError if they are not allowed here."""

    def __init__(self) -> None:
        if shutil.which("ip") is None:
            raise FileNotFoundError("network namespaces need iproute2")
        self.name, self.subnet = f"sst{os.getpid()}", f"10.213.{os.getpid() % 250}"
        self.bridge, self.machines = f"{self.name}-bridge", list[str]()
        ip("netns", "add", self.bridge)
        try:
            ip("-n", self.bridge, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.bridge, "link", "set", "bridge", "up")
        except OSError:
            self.close()
            raise

    def add(self) -> None:
        number = len(self.machines)
        space = f"{self.name}-{number}"
        ip("netns", "add", space)
        self.machines.append(space)
        ip("-n", self.bridge, "link", "add", f"to{number}", "type", "veth", "peer", "name", "eth", "netns", space)
        ip("-n", self.bridge, "link", "set", f"to{number}", "master", "bridge", "up")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "address", "add", f"{self.address(number)}/24", "dev", "eth")
        ip("-n", space, "link", "set", "eth", "up")

    def address(self, number: int) -> str:
        return f"{self.subnet}.{number + 1}"

    def link(self, number: int, state: str) -> None:
        ip("-n", self.bridge, "link", "set", f"to{number}", state)

    def pids(self, number: int) -> list[int]:
        return [int(line) for line in ip("netns", "pids", self.machines[number]).split()]

    def titles(self, number: int, text: str) -> list[str]:
        """The command lines of a machine's processes that contain a text."""
        titles = []
        for process in self.pids(number):
            with suppress(OSError):
                titles.append(Path(f"/proc/{process}/cmdline").read_bytes().decode())
        return [title for title in titles if text in title]

    def close(self) -> None:
        for space in self.machines:
            ip("netns", "delete", space)
        ip("netns", "delete", self.bridge)


class PartitionedCluster:
    """A Ray cluster of a head, which only drives, and two machines with two cores each.

    ``root`` is where the code is, ``here`` the working folder of all programs, ``python`` what starts them.
    """

    def __init__(
        self, network: Network, here: Path, root: Path, python: str | Path = sys.executable, **environment: str
    ) -> None:
        self.network, self.here, self.python = network, here, str(python)
        self.processes: list[subprocess.Popen[Any]] = []
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # socket paths must be short
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
        code = {"PYTHONPATH": str(root), "NO_COLOR": "1"}
        self.environment = os.environ | FAST_HEALTH_CHECKS | own | code | environment
        self.address = f"{network.address(0)}:6379"
        try:
            for _ in range(3):
                network.add()
            for number in range(3):
                self.start_at_last(number)
        except BaseException:
            self.close()
            raise

    def begin(self, number: int, *arguments: str, **more: Any) -> subprocess.Popen[Any]:
        """Start a program on a machine."""
        command = ["ip", "netns", "exec", self.network.machines[number], *arguments]
        with (self.here / f"machine-{number}.txt").open("a") as talk:
            options = {"cwd": self.here, "env": self.environment, "stdout": talk, "stderr": talk, **more}
            process = subprocess.Popen(command, **options)
        self.processes.append(process)
        return process

    def start(self, number: int) -> subprocess.Popen[Any]:
        """Start Ray on a machine; every machine but the head gets a private /tmp/ray."""
        ray = [self.python, "-m", "ray.scripts.scripts", "start", "--node-ip-address", self.network.address(number)]
        if number == 0:
            head = ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}"]
            return self.begin(0, *ray, *head)
        script = f'mount -t tmpfs none {self.folder} && exec "$@"'
        return self.begin(number, "sh", "-c", script, "sh", *ray, f"--address={self.address}", "--num-cpus=2")

    def start_at_last(self, number: int, attempts: int = 3) -> None:
        """Start Ray on a machine and wait for it; a node gives up if it takes half a minute on a busy machine."""
        for _ in range(attempts):
            if self.start(number).wait(PATIENCE) == 0:
                return
            self.kill(number)
        raise AssertionError(f"Ray does not start on machine {number}: see {self.here}")

    def kill(self, number: int) -> None:
        """End all programs of a machine."""
        for process in self.network.pids(number):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def close(self) -> None:
        for number in range(len(self.network.machines)):
            self.kill(number)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
