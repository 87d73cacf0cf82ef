"""Launched searches that keep running while tests inspect their output, processes and ports."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from search.runs.journal import read_journal

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0
# Credentials that the searches have and that must not appear anywhere.
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00",
    "AWS_SECRET_ACCESS_KEY": "planted/secret/of/the/tests/0123456789",
}
# "one" has a config whose worker is killed once in each fold, one that fails, and one whose folds train until the
# search is stopped; "two" has only the last one.
SPACES = {
    "one": """
name: one
folds: 2
trainable: scripted
parameters:
  fault: {values: [kill, nan, none]}
  step_seconds: {values: [0.01, 600]}
  fault_step: 2
  quality: 0.8
  steps: 2
  evaluations: 2
forbid:
  - {fault: [kill, nan], step_seconds: 600}
  - {fault: none, step_seconds: 0.01}
resources: {gpu: 0, cpu: 1}
""",
    "two": """
name: two
folds: 2
trainable: scripted
parameters:
  fault: {values: [none]}
  step_seconds: 600
  steps: 2
  evaluations: 2
resources: {gpu: 0, cpu: 1}
""",
}


class Search:
    """A launched search and its output."""

    def __init__(self, folder, name, environment):
        self.stderr, self.stdout, self.run = folder / f"{name}.err", folder / f"{name}.out", folder / "runs" / name
        (folder / f"{name}.yaml").write_text(SPACES[name])
        command = [sys.executable, "-m", "search", "launch", f"{name}.yaml"]
        with self.stderr.open("w") as stderr, self.stdout.open("w") as stdout:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stdout, stderr=stderr)

    def address(self, label):
        match = re.search(rf"^{label}: (http://\S+)", self.stderr.read_text(), re.M)
        return match and match[1]

    def stop(self):
        """Press Ctrl-C twice, because a step takes ten minutes."""
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()

    def config(self, fault):
        for path in self.run.glob("configs/*/config.json"):
            document = json.loads(path.read_text())
            if document["values"]["fault"] == fault:
                return document["id"]
        raise AssertionError(fault)

    def log(self, fault, fold):
        return (self.run / "configs" / self.config(fault) / f"fold_{fold}" / "log.txt").read_text()


def wait_for(condition, search):
    """Wait until a condition is true; fails with the search's stderr if it ends or takes too long."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert search.process.poll() is None and time.monotonic() < end, search.stderr.read_text()
        time.sleep(0.2)


def running_jobs(run):
    """(fault, fold) of the running jobs, from the journal."""
    running, faults = set(), {}
    for line in read_journal(run / "journal.jsonl"):
        fields = line.fields
        if line.kind == "config":
            faults[fields["config"]] = fields["parameters"]["fault"]
        elif line.kind == "job":
            running.add((faults[fields["config"]], fields["fold"]))
        elif "stop" in fields or line.kind in ("stop", "lost"):
            running.discard((faults[fields["config"]], fields["fold"]))
    return running


def fetch(url, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:
        return response.read().decode()
