"""A search submitted to a Ray cluster as a job, through its dashboard."""

import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from forked_child import CHILDREN

from search.runs.journal import read_journal

ROOT = Path(__file__).parents[3]
PATIENCE = 180.0
HEAD = """
import signal, sys, ray
from ray._private.utils import write_ray_address
from cluster.connection.local_ray import local_ray
with local_ray(dashboard=True):
    write_ray_address(ray.get_runtime_context().gcs_address)  # as ray start does; jobs read it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.pause()
"""
SPACE = {
    "folds": 2,
    "trainable": "scripted",
    "scheduler": "grid",
    "parameters": {"quality": {"values": [0.7, 0.8]}, "steps": 2, "evaluations": 2},
    "resources": {"gpu": 0, "cpu": 1},
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory, fork_server):
    """The environment of a user with their own token, and this project's Python first, which forks."""
    folder = tmp_path_factory.mktemp("user")
    # A job joins the Ray started last with this folder; paths to sockets must be short.
    scratch = tempfile.mkdtemp(prefix="ray")
    (folder / "token").write_text("0123456789abcdef0123456789abcdef\n")
    settings = {
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(fork_server.python.parent), os.environ["PATH"]]),
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "SCRIBBLE_SEARCH_CACHE": str(folder / "cache"),
        "RAY_TMPDIR": scratch,
        "NO_COLOR": "1",
        CHILDREN: "1",
    }
    yield {**os.environ, **settings}
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def address(environment, tmp_path_factory, fork_server):
    """The dashboard of a Ray that runs before any search."""
    program = tmp_path_factory.mktemp("head") / "head.py"
    program.write_text(HEAD)
    head = fork_server.start([program], ROOT, environment)
    found = next(filter(None, (re.match(r"dashboard: (\S+)", line) for line in head.stderr)))
    yield found[1]
    head.terminate()
    head.communicate(timeout=PATIENCE)


@pytest.fixture
def submit(tmp_path, environment, address, fork_server):
    def start(name, *words, **parameters):
        space = {"name": name, **SPACE, "parameters": SPACE["parameters"] | parameters}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(space))
        command = ["-m", "search", "submit", f"{name}.yaml", "--address", address, "--runs", tmp_path / "runs", *words]
        return fork_server.start(command, tmp_path, environment)

    return start


def test_a_job_prints_its_events_and_returns_the_exit_code_of_the_search(submit, tmp_path):
    good, failing = submit("good"), submit("failing", fault="nan", fault_step=1, fault_times=1000)
    _, stderr = good.communicate(timeout=PATIENCE)
    assert good.returncode == 0, stderr
    assert "good-1: submitted to http://" in stderr and "ended: every job is done" in stderr
    reports = [line for line in read_journal(tmp_path / "runs/good/journal.jsonl") if line.kind == "report"]
    assert len(reports) == 2 * 2 * 2
    _, stderr = failing.communicate(timeout=PATIENCE)
    assert failing.returncode == 1, stderr


def test_a_search_continues_without_its_submitter_and_is_found_again(submit, tmp_path):
    first = submit("long", step_seconds=0.5, steps=10)
    journal = tmp_path / "runs/long/journal.jsonl"
    deadline = time.monotonic() + PATIENCE
    while not journal.exists() or '"report"' not in journal.read_text():
        assert time.monotonic() < deadline and first.poll() is None, first.communicate()
        time.sleep(0.1)
    first.kill()
    first.communicate()
    again = submit("long", step_seconds=0.5, steps=10)
    _, stderr = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, stderr
    assert "long-1: already running on http://" in stderr and "ended: every job is done" in stderr
    assert sum(line.kind == "begin" for line in read_journal(journal)) == 1, "a single driver ran the search"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--address", "http://127.0.0.1:9"), "http://127.0.0.1:9: unreachable"),
        (("--address", "127.0.0.1"), "must be the URL of the dashboard"),
        (("--runs", "runs"), "must be an absolute path that all nodes share"),
    ],
)
def test_an_unusable_address_or_folder_is_reported(submit, words, message):
    done = submit("nowhere", *words)
    _, stderr = done.communicate(timeout=PATIENCE)
    assert done.returncode == 2 and message in stderr
