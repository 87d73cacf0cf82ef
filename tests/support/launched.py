"""Launched searches that are held while tests look at them: what they say, what they train, who may ask them."""

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
# What S3 would be asked with: for the searches to have, and for nobody to find.
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00",
    "AWS_SECRET_ACCESS_KEY": "planted/secret/of/the/tests/0123456789",
}
# One has a config whose worker is killed once in each fold, one that fails, and one whose folds train for as long as
# anybody looks; two has the last one alone.
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
    """A launched search, and what it says of itself."""

    def __init__(self, folder, name, environment):
        self.talk, self.out, self.run = folder / f"{name}.err", folder / f"{name}.out", folder / "runs" / name
        (folder / f"{name}.yaml").write_text(SPACES[name])
        command = [sys.executable, "-m", "search", "launch", f"{name}.yaml"]
        with self.talk.open("w") as talk, self.out.open("w") as out:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=talk)

    def address(self, of):
        found = re.search(rf"^{of}: (http://\S+)", self.talk.read_text(), re.M)
        return found and found[1]

    def end(self):
        """Ctrl-C twice: nobody waits for a step of ten minutes."""
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


def wait_for(true, search):
    """Until something is so; a search that died or takes for ever is told with what it said."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert search.process.poll() is None and time.monotonic() < end, search.talk.read_text()
        time.sleep(0.2)


def out_now(run):
    """(fault, fold) of the jobs that the journal knows to be out."""
    out, faults = set(), {}
    for line in read_journal(run / "journal.jsonl"):
        fields = line.fields
        if line.kind == "config":
            faults[fields["config"]] = fields["parameters"]["fault"]
        elif line.kind == "job":
            out.add((faults[fields["config"]], fields["fold"]))
        elif "stop" in fields or line.kind in ("stop", "lost"):
            out.discard((faults[fields["config"]], fields["fold"]))
    return out


def ask(url, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.read().decode()
