"""Run a scripted search on a small Ray cluster and inject external faults: lost workers, machines and drivers."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_cluster import Cell, FakeCluster, kill_process

from search.engine.job_feed import NODE_LEFT
from search.runs.journal import Tail
from search.runs.run_folder import Run

HOME = Path(__file__).parents[1]
STUCK_SECONDS = 240.0  # without a new record
RETRIES = 3  # of a fold trial that crashes
RELAUNCH = "fix this and launch again"


class Search:
    """One scripted search and the faults injected into it."""

    def __init__(self, cluster: FakeCluster, folder: Path, space: dict[str, Any], rng: random.Random) -> None:
        self.cluster, self.folder, self.rng = cluster, folder, rng
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "space.yaml").write_text(json.dumps({**space, "name": "run"}))  # JSON is YAML
        self.run = Run(folder / "run")
        self.tail = Tail(self.run.journal)
        self.running: set[Cell] = set()  # fold trials that have reported to this driver and continue
        self.crashes: dict[Cell, int] = {}
        self.reports = self.launches = self.injected = 0
        self.last_record = time.monotonic()

    def launch(self) -> None:
        """Launch or relaunch the search; the command is the same."""
        command = [
            sys.executable,
            str(HOME / "tests/support/short_hang_limit.py"),
            "launch",
            str(self.folder / "space.yaml"),
        ]
        command += ["--runs", str(self.folder), "--address", self.cluster.address, "--plain", "--no-dashboard"]
        self.launches += 1
        with (self.folder / "driver.log").open("a") as log:
            self.driver = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def read_journal(self) -> None:
        """Read new records and update which fold trials are running."""
        for line in self.tail.read():
            self.last_record = time.monotonic()
            cell = (line.fields.get("config", ""), line.fields.get("fold", 0))
            if line.kind == "begin":
                self.running.clear()
                self.crashes.clear()
            elif line.kind == "report":
                self.reports += 1
                self.running.add(cell)
            elif line.kind == "fault" and line.fields["fault"] != NODE_LEFT:
                self.crashes[cell] = self.crashes.get(cell, 0) + 1
            if line.kind in ("lost", "fault", "stop") or "stop" in line.fields:
                self.running.discard(cell)

    def run_to_end(self, fault_times: list[int], inject: Callable[[Search], bool] | None) -> bool:
        """Inject a fault at each of these numbers of reports; returns whether the search completed."""
        self.launch()
        fault_times = list(fault_times)
        try:
            while time.monotonic() - self.last_record < STUCK_SECONDS:
                self.read_journal()
                code = self.driver.poll()
                if code == 0:
                    return True
                if code is not None:
                    if RELAUNCH not in (self.folder / "driver.log").read_text().strip().splitlines()[-1]:
                        return False
                    self.launch()
                if inject and fault_times and self.reports >= fault_times[0] and inject(self):
                    self.injected += 1
                    del fault_times[0]
                time.sleep(0.05)
            return False
        finally:
            self.driver.kill()
            self.driver.wait()

    @property
    def worker(self) -> int | None:
        """A training worker whose fold trial still has retries left."""
        eligible = {cell for cell in self.running if self.crashes.get(cell, 0) < RETRIES}
        workers = self.cluster.trained_at(self.run.folder, eligible)
        return self.rng.choice(list(workers.values())) if workers else None

    @property
    def node(self) -> Any | None:
        """A node that runs such a worker."""
        worker = self.worker
        return None if worker is None else self.cluster.node_of(worker)

    @property
    def scripted(self) -> int:
        """The number of faults caused by the script."""
        return sum(json.loads(path.read_text()) for path in self.run.folder.glob("configs/*/fold_*/faults.json"))


def kill_worker(search: Search) -> bool:
    worker = search.worker
    if worker is not None:
        kill_process(worker)
    return worker is not None


def kill_machine(search: Search) -> bool:
    node = search.node
    if node is not None:
        search.cluster.kill(node)
        search.cluster.add()
    return node is not None


def drain_machine(search: Search) -> bool:
    """Announce the loss of a machine, then remove it before or after its replacement joins."""
    node = search.node
    if node is not None:
        search.cluster.drain(node, seconds=5.0)
        for step in search.rng.sample([search.cluster.add, lambda: search.cluster.kill(node)], 2):
            step()
    return node is not None


def kill_driver(search: Search) -> bool:
    if search.running:
        search.driver.kill()
        search.driver.wait()
        search.launch()
        search.running.clear()
        return True
    return False


def inject_any(search: Search) -> bool:
    return search.rng.choice([kill_worker, kill_machine, drain_machine, kill_driver])(search)
