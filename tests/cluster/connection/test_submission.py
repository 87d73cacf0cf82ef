"""A search sent to a Ray cluster as a job, through the door that a cluster has for it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from search.runs.journal import read_journal

ROOT = Path(__file__).parents[3]
PATIENCE = 180.0
HEAD = """
import sys, ray
from ray._private.utils import write_ray_address
from cluster.connection.local_ray import local_ray
with local_ray(dashboard=True):
    write_ray_address(ray.get_runtime_context().gcs_address)  # as ray start does; its jobs look there
    sys.stdin.read()
"""
SPACE = {
    "folds": 2,
    "trainable": "scripted",
    "scheduler": "grid",
    "parameters": {"quality": {"values": [0.7, 0.8]}, "steps": 2, "evaluations": 2},
    "resources": {"gpu": 0, "cpu": 1},
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A user's own: a token of theirs, and this project's Python first."""
    folder = tmp_path_factory.mktemp("user")
    # A job finds the Ray that was started last with this folder; and paths to sockets must be short.
    scratch = tempfile.mkdtemp(prefix="ray")
    (folder / "token").write_text("0123456789abcdef0123456789abcdef\n")
    ours = {
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "SCRIBBLE_SEARCH_CACHE": str(folder / "cache"),
        "RAY_TMPDIR": scratch,
        "NO_COLOR": "1",
    }
    yield {**os.environ, **ours}
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def address(environment):
    """The dashboard of a Ray that is there before any search."""
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HEAD], env=environment, cwd=ROOT, **pipes) as head:
        found = next(filter(None, (re.match(r"dashboard: (\S+)", line) for line in head.stderr)))
        yield found[1]
        head.stdin.close()
        head.stderr.close()


@pytest.fixture
def submit(tmp_path, environment, address):
    def start(name, *words, **parameters):
        space = {"name": name, **SPACE, "parameters": SPACE["parameters"] | parameters}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(space))
        command = [sys.executable, "-m", "search", "submit", f"{name}.yaml", "--address", address]
        command += ["--runs", str(tmp_path / "runs"), *words]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)

    return start


def test_a_search_runs_as_a_job_says_what_it_does_and_ends_with_its_own_exit_code(submit, tmp_path):
    good, failing = submit("good"), submit("failing", fault="nan", fault_step=1, fault_times=1000)
    _, said = good.communicate(timeout=PATIENCE)
    assert good.returncode == 0, said
    assert "good-1: sent to http://" in said and "ended: every job is done" in said
    reports = [line for line in read_journal(tmp_path / "runs/good/journal.jsonl") if line.kind == "report"]
    assert len(reports) == 2 * 2 * 2
    _, said = failing.communicate(timeout=PATIENCE)
    assert failing.returncode == 1, said


def test_it_goes_on_without_the_one_who_sent_it_who_finds_it_again(submit, tmp_path):
    first = submit("long", step_seconds=0.5, steps=10)
    journal = tmp_path / "runs/long/journal.jsonl"
    deadline = time.monotonic() + PATIENCE
    while not journal.exists() or '"report"' not in journal.read_text():
        assert time.monotonic() < deadline and first.poll() is None, first.communicate()
    first.kill()
    first.communicate()
    again = submit("long", step_seconds=0.5, steps=10)
    _, said = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, said
    assert "long-1: is under way on http://" in said and "ended: every job is done" in said
    assert sum(line.kind == "begin" for line in read_journal(journal)) == 1, "one driver did it all"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--address", "http://127.0.0.1:9"), "no jobs can be sent there"),
        (("--address", "127.0.0.1"), "must be the dashboard's"),
        (("--runs", "runs"), "must be a path from the root that all nodes share"),
    ],
)
def test_where_it_cannot_go_that_is_said(submit, words, told):
    done = submit("nowhere", *words)
    _, said = done.communicate(timeout=PATIENCE)
    assert done.returncode == 2 and told in said
