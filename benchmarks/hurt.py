"""A scripted search on a small Ray cluster, and what a fault from outside does to it."""

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
PATIENCE = 240.0  # seconds without a record after which a search counts as stuck
BAD_LUCK = 3  # crashes that a fold trial is tried again after
AGAIN = "fix this and launch again"


class Search:
    """One scripted search and what is done to it."""

    def __init__(self, cluster: FakeCluster, folder: Path, space: dict[str, Any], rng: random.Random) -> None:
        self.cluster, self.folder, self.rng = cluster, folder, rng
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "space.yaml").write_text(json.dumps({**space, "name": "run"}))  # JSON is YAML
        self.run = Run(folder / "run")
        self.tail = Tail(self.run.journal)
        self.out: set[Cell] = set()  # have reported to this driver and go on
        self.crashes: dict[Cell, int] = {}
        self.reports = self.launches = self.inflicted = 0
        self.heard = time.monotonic()

    def launch(self) -> None:
        """The first time, or again, by the same command."""
        command = [
            sys.executable,
            str(HOME / "tests/support/short_hang_limit.py"),
            "launch",
            str(self.folder / "space.yaml"),
        ]
        command += ["--runs", str(self.folder), "--address", self.cluster.address, "--plain", "--no-dashboard"]
        self.launches += 1
        with (self.folder / "talk.txt").open("a") as talk:
            self.driver = subprocess.Popen(command, stdout=talk, stderr=talk, start_new_session=True)

    def look(self) -> None:
        for line in self.tail.read():
            self.heard = time.monotonic()
            cell = (line.fields.get("config", ""), line.fields.get("fold", 0))
            if line.kind == "begin":
                self.out.clear()
                self.crashes.clear()
            elif line.kind == "report":
                self.reports += 1
                self.out.add(cell)
            elif line.kind == "fault" and line.fields["fault"] != NODE_LEFT:
                self.crashes[cell] = self.crashes.get(cell, 0) + 1
            if line.kind in ("lost", "fault", "stop") or "stop" in line.fields:
                self.out.discard(cell)

    def to_the_end(self, strikes: list[int], hurt: Callable[[Search], bool] | None) -> bool:
        """Hurt it whenever it has so many reports; whether it came to its end."""
        self.launch()
        strikes = list(strikes)
        try:
            while time.monotonic() - self.heard < PATIENCE:
                self.look()
                code = self.driver.poll()
                if code == 0:
                    return True
                if code is not None:
                    if AGAIN not in (self.folder / "talk.txt").read_text().strip().splitlines()[-1]:
                        return False
                    self.launch()
                if hurt and strikes and self.reports >= strikes[0] and hurt(self):
                    self.inflicted += 1
                    del strikes[0]
                time.sleep(0.05)
            return False
        finally:
            self.driver.kill()
            self.driver.wait()

    @property
    def worker(self) -> int | None:
        """One that trains now, and whose fold trial may crash once more."""
        may = {cell for cell in self.out if self.crashes.get(cell, 0) < BAD_LUCK}
        trained = self.cluster.trained_at(self.run.folder, may)
        return self.rng.choice(list(trained.values())) if trained else None

    @property
    def node(self) -> Any | None:
        """One on which such a fold trial trains."""
        worker = self.worker
        return None if worker is None else self.cluster.node_of(worker)

    @property
    def scripted(self) -> int:
        """Faults that the script has brought about."""
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


def take_machine(search: Search) -> bool:
    """Announced, so that what it has may end before it goes, where the next one comes first."""
    node = search.node
    if node is not None:
        search.cluster.drain(node, seconds=5.0)
        for step in search.rng.sample([search.cluster.add, lambda: search.cluster.kill(node)], 2):
            step()
    return node is not None


def kill_driver(search: Search) -> bool:
    if search.out:
        search.driver.kill()
        search.driver.wait()
        search.commands.launch()
        search.out.clear()
        return True
    return False


def any_of_these(search: Search) -> bool:
    return search.rng.choice([kill_worker, kill_machine, take_machine, kill_driver])(search)
