"""A Ray cluster whose nodes are processes of this machine with fake GPUs, and faults to inject into it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fork_server import ForkServer
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.gcs_pb2 import WorkerTableData

from cluster.connection.connect import use_token
from cluster.connection.ray_workarounds import few_processes, keep_node

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x00020000  # of sched.h: a separate mount namespace
PREEMPTION = 2  # of autoscaler.proto's DrainNodeReason
# Prestarted workers are never used by a driver that has its own runtime environment.
NO_PRESTART = {"RAY_enable_worker_prestart": "0", "RAY_USAGE_STATS_ENABLED": "0"}
QUIET = {"include_dashboard": False, "dashboard_agent_listen_port": 0}

Cell = tuple[str, int]


class FakeCluster:
    """A head without cores, so that nothing trains on it, and nodes with two cores and a GPU each.

    With a fork server it forks their agents and workers, which takes a tenth of the time.
    """

    def __init__(self, nodes: int, fork_server: ForkServer | None = None, **environment: str) -> None:
        self.forking = fork_server.forking_children if fork_server else nullcontext
        use_token()  # Ray requires a token when it is started by its own command
        self.cores = {"num_cpus": 2, "num_gpus": 1}
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # socket paths must be short
        self.threads: list[ThreadPoolExecutor] = []
        self.environment = {**NO_PRESTART, "CUDA_VISIBLE_DEVICES": "0", "RAY_TMPDIR": str(self.folder), **environment}
        with _environment(self.environment), few_processes(dashboard=False), self.forking():
            self.ray = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **QUIET})
        keep_node(self.ray.head_node)
        try:
            for _ in range(nodes):
                self.add()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        return str(self.ray.address)

    @property
    def nodes(self) -> list[Any]:
        """The nodes that train, oldest first, without removed ones."""
        return sorted(self.ray.worker_nodes, key=_raylet)

    def add(self, **environment: str) -> Any:
        """Add a node with more variables in its environment."""
        with self.forking():
            return self.add_unforked(**environment)

    def add_unforked(self, **environment: str) -> Any:
        """Add a node whose processes start as new interpreters, with variables that matter from their beginning."""
        with _environment({**self.environment, **environment}), few_processes(dashboard=False):
            node = self.ray.add_node(**self.cores, **QUIET)
        keep_node(node)
        return node

    def add_without(self, folder: Path, **environment: str) -> Any:
        """Add a node on which this folder is empty, because another file system is mounted there."""

        def start() -> Any:
            _hide(folder)
            with patch("ray._private.utils.set_sigterm_handler"):  # allowed only in the main thread
                return self.add(**environment)

        thread = ThreadPoolExecutor(1)  # its processes inherit its mounts and die with it
        self.threads.append(thread)
        return thread.submit(start).result()

    def kill(self, node: Any) -> None:
        """Remove the node at once, as a power cut does."""
        self.ray.remove_node(node, allow_graceful=False)

    def drain(self, node: Any, seconds: float) -> None:
        """Announce to Ray that the node will be removed in so many seconds, as for a spot machine."""
        deadline = int((time.time() + seconds) * 1000)
        accepted, reason = GcsClient(address=self.address).drain_node(node.node_id, PREEMPTION, "spot", deadline)
        assert accepted, reason

    def node_of(self, process: int) -> Any | None:
        """The node that this living worker process belongs to."""
        for text in self.ray.global_state._connect_and_get_accessor().get_worker_table():
            worker = WorkerTableData.FromString(text)
            if worker.pid == process and worker.is_alive:
                return next((node for node in self.nodes if node.node_id == worker.worker_address.node_id.hex()), None)
        return None

    def trained_at(self, folder: Path, cells: set[Cell]) -> dict[Cell, int]:
        """The worker processes that train these fold trials of a run, from the logs of the folds."""
        workers = {}
        for cell in sorted(cells):
            log = folder / "configs" / cell[0] / f"fold_{cell[1]}" / "log.txt"
            lines = log.read_text().splitlines() if log.exists() else []
            pids = [text.split()[1] for line in lines if (text := line[line.find("process ") :]) and " on " in text]
            if pids and self.node_of(int(pids[-1])) is not None:
                workers[cell] = int(pids[-1])
        return workers

    def close(self) -> None:
        """Stop all processes."""
        for node in self.nodes:
            self.kill(node)
        with _environment(self.environment):
            self.ray.shutdown()
        for thread in self.threads:
            thread.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)


def kill_process(process: int) -> None:
    """Kill a process, unless it has just ended."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _hide(folder: Path) -> None:
    """Hide a folder from this thread and the processes that it starts."""
    if LIBC.unshare(CLONE_NEWNS):
        raise PermissionError(ctypes.get_errno(), "mount namespaces are not allowed here")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], check=True)


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started in this context."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
