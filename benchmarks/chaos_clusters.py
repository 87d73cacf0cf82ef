"""Clusters on this machine into which benchmarks/chaos.py injects faults.

Their nodes are processes, each with a clock of its own and a small disk for its cache, or network namespaces, whose
links can be cut.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from fake_cluster import FakeCluster
from moved_clock import MovedClock, build_library
from object_store import CREDENTIALS, ObjectStore
from partitioned_cluster import RAYLET, Network, PartitionedCluster
from small_disk import SmallDisk

from search.race.score_table import Cell

HOME = Path(__file__).parents[1]
WORKERS = HOME / "tests/support/hasty_workers"
CODE = {"PYTHONPATH": f"{WORKERS}:{HOME}"}  # the nodes have it, so it need not be sent
IN_PLACE = {"RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {}}'}
TITLE = re.compile(r"ray::(?P<run>\S+) config (?P<config>\S+) fold (?P<fold>\d+)")
DISK_MEGABYTES = 400  # the checkpoints of two fold trials that train a network take 260
ATTEMPTS = 5  # to start a node, which Ray gives up after half a minute


def workers_of(run: str, cells: set[Cell]) -> dict[Cell, int]:
    """The processes that train these fold trials of a run, by their titles."""
    found: dict[Cell, int] = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            title = path.read_bytes().partition(b"\0")[0].decode(errors="replace").strip()
            match = TITLE.fullmatch(title)
            if match and match["run"] == run and (cell := (match["config"], int(match["fold"]))) in cells:
                found[cell] = int(path.parent.name)
    return found


@dataclass(frozen=True)
class Machine:
    """What is a node's own."""

    clock: MovedClock
    disk: SmallDisk


class ProcessCluster(FakeCluster):
    """Nodes that can be killed and drained, whose clocks can jump and whose disks can fill; with an object store."""

    def __init__(self, nodes: int, folder: Path) -> None:
        self.library, self.numbers = build_library(folder), count()
        self.machines: dict[Any, Machine] = {}
        self.store = ObjectStore()
        self.store.start()
        self.store.make_bucket()
        try:
            super().__init__(nodes, **CREDENTIALS, **CODE)
        except BaseException:
            self.store.stop()
            raise

    @property
    def driver_environment(self) -> Mapping[str, str]:
        return {**CREDENTIALS, **IN_PLACE}

    def command(self, *arguments: str) -> list[str]:
        """The command that starts a driver."""
        return list(arguments)

    def add(self, **environment: str) -> Any:
        number = next(self.numbers)
        disk = SmallDisk(self.folder / f"disk-{number}", DISK_MEGABYTES)
        clock = MovedClock(self.library, self.folder / f"clock-{number}")
        own = {**clock.environment, "SCRIBBLE_SEARCH_CACHE": str(disk.folder)}
        for attempt in range(ATTEMPTS):
            try:
                node = super().add(**own, **environment)
            except Exception as error:
                if attempt + 1 == ATTEMPTS or "timed out during startup" not in str(error):
                    raise
            else:
                break
        self.machines[node] = Machine(clock, disk)
        return node

    def kill(self, node: Any) -> None:
        super().kill(node)
        self.machines.pop(node).disk.close()

    def refresh(self) -> None:
        """Undo what the faults of another search have left."""
        for node in self.machines.values():
            node.clock.move(0)
            node.disk.free()
            shutil.rmtree(node.disk.folder / "scratch", ignore_errors=True)

    def tend(self) -> None:
        """Nothing restarts a node that was killed; another one has been added."""

    def close(self) -> None:
        super().close()
        self.store.stop()


class LinkedCluster:
    """A head and two machines, whose links can be cut and on which a supervisor restarts Ray."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.network = Network()
        try:
            self.ray = PartitionedCluster(self.network, folder, HOME, **CODE, **IN_PLACE)
        except BaseException:
            self.network.close()
            raise
        self.address, self.restarting = self.ray.address, dict[int, subprocess.Popen[Any]]()
        self.tended = 0.0

    @property
    def driver_environment(self) -> Mapping[str, str]:
        return self.ray.environment

    def command(self, *arguments: str) -> list[str]:
        return ["ip", "netns", "exec", self.network.machines[0], *arguments]

    def node_of(self, process: int) -> int | None:
        return next((number for number in (1, 2) if process in self.network.pids(number)), None)

    def cut(self, number: int, seconds: float) -> None:
        self.network.link(number, "down")
        time.sleep(seconds)
        self.network.link(number, "up")

    def tend(self) -> None:
        """Restart Ray on machines that it has given up, which end it once they hear of that."""
        if time.monotonic() - self.tended < 1.0:
            return
        self.tended = time.monotonic()
        for number in (1, 2):
            started = self.restarting.get(number)
            if (started is None or started.poll() is not None) and not self.network.titles(number, RAYLET):
                self.restarting[number] = self.ray.start(number)

    def close(self) -> None:
        self.ray.close()
        self.network.close()
