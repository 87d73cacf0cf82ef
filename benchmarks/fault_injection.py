"""Run a search on a small Ray cluster and inject external faults: into workers, machines, drivers, links and stores."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fake_cluster import kill_process
from moved_clock import MovedClock, build_library

from benchmarks.chaos_clusters import LinkedCluster, ProcessCluster, workers_of
from search.engine.job_feed import NODE_LEFT
from search.race.score_table import Cell
from search.run_storage.stored_run import StoredRun, local_folder
from search.runs.journal import Tail
from search.runs.run_folder import Run
from trainable.storage.object_store import Store

HOME = Path(__file__).parents[1]
STUCK_SECONDS = 600.0  # without a new record, which pre-training on a busy machine may take
RETRIES = 3  # of a fold trial that crashes
RELAUNCH = "launch again"

Inject = Callable[["Search"], bool]


class Search:
    """A search and the faults injected into it; ``stored`` means that its run is in the cluster's object store.

    Times of faults are numbers of reports or, with ``by_time``, seconds since the first job.
    """

    def __init__(
        self,
        cluster: Any,
        folder: Path,
        space: dict[str, Any],
        rng: random.Random,
        stored: bool = False,
        by_time: bool = False,
    ) -> None:
        self.cluster, self.folder, self.rng, self.by_time = cluster, folder, rng, by_time
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.name = f"run-{folder.name}"
        (folder / "space.yaml").write_text(json.dumps({**space, "name": self.name}))  # JSON is YAML
        self.clock = MovedClock(build_library(folder), folder / "clock")
        self.root, self.run = str(folder), Run(folder / self.name)
        self.environment = {**cluster.driver_environment, **self.clock.environment}
        self.environment["SCRIBBLE_SEARCH_CACHE"] = str(folder / "cache")
        if stored:
            self.root = cluster.store.url(f"runs-{folder.name}-{os.getpid()}")
            store = Store(self.root).under(self.name)
            with patch.dict(os.environ, self.environment):
                self.run = StoredRun(local_folder(store), store, driven_here=True)
        hangs = space["parameters"].get("fault") == "hang"
        self.program = [str(HOME / "tests/support/short_hang_limit.py")] if hangs else ["-m", "search"]
        self.tail = Tail(self.run.journal)
        self.running: set[Cell] = set()
        self.crashes: dict[Cell, int] = {}
        self.reports = self.launches = self.injected = 0
        self.began = self.last_record = time.monotonic()
        self.first_job: float | None = None

    def launch(self) -> None:
        """Launch or relaunch the search; the command is the same."""
        program = [sys.executable, *self.program, "launch"]
        options = ["--runs", self.root, "--address", self.cluster.address, "--plain", "--no-dashboard"]
        command = self.cluster.command(*program, str(self.folder / "space.yaml"), *options)
        self.launches += 1
        with (self.folder / "driver.log").open("a") as log:
            environment = {**os.environ, **self.environment}
            options_of_process: dict[str, Any] = {"env": environment, "cwd": HOME, "start_new_session": True}
            self.driver = subprocess.Popen(command, stdout=log, stderr=log, **options_of_process)

    def read_journal(self) -> None:
        """Read new records and update which fold trials are running."""
        for line in self.tail.read():
            self.last_record = time.monotonic()
            cell = (line.fields.get("config", ""), line.fields.get("fold", 0))
            if line.kind == "begin":
                self.running.clear()
                self.crashes.clear()
            elif line.kind == "job":
                self.first_job = self.first_job or time.monotonic()
                self.running.add(cell)
            elif line.kind == "report":
                self.reports += 1
            elif line.kind == "fault" and line.fields["fault"] != NODE_LEFT:
                self.crashes[cell] = self.crashes.get(cell, 0) + 1
            if line.kind in ("lost", "stop", "held") or "stop" in line.fields:
                self.running.discard(cell)

    @property
    def progress(self) -> float:
        if not self.by_time:
            return self.reports
        return 0.0 if self.first_job is None else time.monotonic() - self.first_job

    def run_to_end(self, fault_times: list[float], inject: Inject | None) -> bool:
        """Inject a fault at each of these times; returns whether the search completed."""
        self.launch()
        fault_times = list(fault_times)
        try:
            while time.monotonic() - self.last_record < STUCK_SECONDS:
                self.read_journal()
                self.cluster.tend()
                code = self.driver.poll()
                if code == 0:
                    self.read_journal()
                    return True
                if code is not None:
                    if RELAUNCH not in (self.folder / "driver.log").read_text().strip().splitlines()[-1]:
                        return False
                    self.launch()
                if inject and fault_times and self.progress >= fault_times[0] and inject(self):
                    self.injected += 1
                    del fault_times[0]
                time.sleep(0.05)
            return False
        finally:
            self.driver.kill()
            self.driver.wait()
            self.seconds = time.monotonic() - self.began

    @property
    def worker(self) -> int | None:
        """A training worker whose fold trial still has retries left."""
        eligible = {cell for cell in self.running if self.crashes.get(cell, 0) < RETRIES}
        workers = workers_of(self.name, eligible)
        return self.rng.choice(sorted(workers.values())) if workers else None

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
    if search.worker is None:
        return False
    search.driver.kill()
    search.driver.wait()
    search.launch()
    search.running.clear()
    return True


def cut_link(search: Search) -> bool:
    """For a moment, or for so long that Ray gives the node up."""
    node = search.node
    if node is not None:
        assert isinstance(search.cluster, LinkedCluster)
        search.cluster.cut(node, search.rng.uniform(0.5, 12.0))
    return node is not None


def stop_store(search: Search) -> bool:
    """Make the object store unreachable for a while."""
    if search.worker is None:
        return False
    search.cluster.store.stop()
    time.sleep(search.rng.uniform(1.0, 20.0))
    search.cluster.store.start()
    return True


def move_clock(search: Search) -> bool:
    """Let the clock of the driver or of a node jump by up to a day, ahead or back."""
    node = search.node
    if node is None:
        return False
    clock = search.rng.choice([search.clock, search.cluster.machines[node].clock])
    clock.move(round(search.rng.choice([-1, 1]) * 10 ** search.rng.uniform(0.0, 4.9)))
    return True


def fill_disk(search: Search) -> bool:
    """Fill the disk on which a node keeps its copies, and free it after a while."""
    node = search.node
    if node is None:
        return False
    disk = search.cluster.machines[node].disk
    disk.fill()
    time.sleep(search.rng.uniform(1.0, 10.0))
    disk.free()
    return True


def inject_any(search: Search) -> bool:
    """Any fault of a ``ProcessCluster``."""
    assert isinstance(search.cluster, ProcessCluster)
    faults = [kill_worker, kill_machine, drain_machine, kill_driver, stop_store, move_clock, fill_disk]
    return search.rng.choice(faults)(search)
