"""A small search on a fake cluster, observed through its journal and logs while tests inject faults."""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import suppress

from run_outcome import check_end, faults, outcome_of, wait_for

from search.runs.run_folder import Run

PATIENCE = 120.0  # seconds to wait for its end on a busy machine
BEST = 0.76
SPACE = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.72, 0.76]}
  steps: 8
  evaluations: 8
  step_seconds: 0.25
scheduler: foldrace
resources: {gpu: 0.5, cpu: 1}
"""


class Search:
    """A launched search; ``start`` starts its driver."""

    def __init__(self, folder, cluster, start):
        self.run, self.cluster, self.start = Run(folder / "runs/demo"), cluster, start
        self.launch()

    def launch(self):
        """Launch it, or resume it with the same command."""
        self.process, self.stderr = self.start(), ""
        os.set_blocking(self.process.stderr.fileno(), False)

    def until(self, condition):
        """Wait until a condition is true while the search runs."""
        return wait_for(condition, self.process, lambda: self.stderr + self.process.communicate()[1])

    def running(self):
        """The running fold trials, and whether they have reported to this driver."""
        running = {}
        for line in self.run.lines():
            cell = (line.fields.get("config"), line.fields.get("fold"))
            if line.kind == "begin":
                running.clear()
            elif line.kind in ("lost", "stop") or "stop" in line.fields:
                running.pop(cell, None)
            elif line.kind in ("job", "report", "fault"):
                running[cell] = line.kind == "report"
        return running

    def workers(self):
        """The processes that are training."""
        reported = {cell for cell, has_reported in self.running().items() if has_reported}
        return list(self.cluster.trained_at(self.run.folder, reported).values())

    def started_jobs(self):
        """The number of jobs that each process has started, from the logs of the folds."""
        logs = self.run.folder.glob("configs/*/fold_*/log.txt")
        return Counter(int(pid) for log in logs for pid in re.findall(r"process (\d+) on", log.read_text()))

    def trains_on(self, node):
        return any(self.cluster.node_of(worker) == node for worker in self.workers())

    def faults(self):
        return faults(self.run)

    def has_printed(self, text):
        """Whether the driver has printed this text to stderr."""
        with suppress(BlockingIOError):
            self.stderr += os.read(self.process.stderr.fileno(), 2**16).decode()
        return text in self.stderr

    def wait(self, code=0):
        """Wait for the end with this exit code and return stderr."""
        _, rest = self.process.communicate(timeout=PATIENCE)
        self.stderr += rest
        assert self.process.returncode == code, self.stderr
        return self.stderr

    def stop(self):
        """Stop it gracefully and return stderr."""
        self.run.request_stop()
        stderr = self.wait(130)
        outcome = outcome_of(self.run)
        assert outcome.reports and not outcome.lost and not outcome.duplicated and outcome.changed_decisions == 0
        return stderr

    def check(self):
        """Check that faults changed nothing: the search ended with its winner and no config failed."""
        check_end(self.run, BEST)
        assert not list(self.run.folder.glob("configs/*/fold_*/error.txt")), "a config failed"
