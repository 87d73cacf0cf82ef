"""A small search on a cluster that is hurt while it goes on, and looked at through its journal, as anybody could."""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import suppress

from aftermath import aftermath, check_end, faults, wait_for

from search.runs.run_folder import Run

PATIENCE = 120.0  # seconds until its end, on a busy machine
BEST = 0.76
SPACE = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.72, 0.74, 0.76]}
  steps: 8
  evaluations: 8
  step_seconds: 0.25
scheduler: foldrace
resources: {gpu: 0.5, cpu: 1}
"""


class Search:
    """A launched search that is looked at through its journal, as anybody could."""

    def __init__(self, folder, machines, begin):
        self.run, self.machines, self.begin = Run(folder / "runs/demo"), machines, begin
        self.again()

    def again(self):
        """By the same command."""
        self.process, self.talk = self.begin(), ""
        os.set_blocking(self.process.stderr.fileno(), False)

    def until(self, condition):
        """Wait for something to come true, while the search goes on by itself."""
        return wait_for(condition, self.process, lambda: self.talk + self.process.communicate()[1])

    def out(self):
        """The fold trials that are out; true for those that have reported to this driver."""
        out = {}
        for line in self.run.lines():
            cell = (line.fields.get("config"), line.fields.get("fold"))
            if line.kind == "begin":
                out.clear()
            elif line.kind in ("lost", "stop") or "stop" in line.fields:
                out.pop(cell, None)
            elif line.kind in ("job", "report", "fault"):
                out[cell] = line.kind == "report"
        return out

    def workers(self):
        """The processes that train now."""
        reported = {cell for cell, has in self.out().items() if has}
        return list(self.machines.trained_at(self.run.folder, reported).values())

    def begun(self):
        """How many jobs each process has begun, as the logs of the folds tell."""
        logs = self.run.folder.glob("configs/*/fold_*/log.txt")
        return Counter(int(found) for log in logs for found in re.findall(r"process (\d+) on", log.read_text()))

    def trains_on(self, node):
        return any(self.machines.node_of(worker) == node for worker in self.workers())

    def faults(self):
        return faults(self.run)

    def says(self, words):
        """Whether it has said so by now."""
        with suppress(BlockingIOError):
            self.talk += os.read(self.process.stderr.fileno(), 2**16).decode()
        return words in self.talk

    def ends(self, code=0):
        _, rest = self.process.communicate(timeout=PATIENCE)
        self.talk += rest
        assert self.process.returncode == code, self.talk
        return self.talk

    def stops(self):
        """End it before its end."""
        self.run.request_stop()
        talk = self.ends(130)
        after = aftermath(self.run)
        assert after.reports and not after.lost and not after.doubled and after.decided_otherwise == 0
        return talk

    def check(self):
        """It came to the end of an undisturbed search, and the journal tells it as if there had been none other."""
        check_end(self.run, BEST)
        assert not list(self.run.folder.glob("configs/*/fold_*/error.txt")), "a config was given up"
