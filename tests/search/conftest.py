"""A Ray that many tests share, and programs that leave nothing behind."""

import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 150.0  # seconds that a program may take on a busy machine


@pytest.fixture(scope="session")
def cluster():
    """A Ray of two cores; its address."""
    import ray

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), before]))
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def environment(small_cache):
    return os.environ | {"SCRIBBLE_SEARCH_CACHE": str(small_cache), "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def start(tmp_path, environment):
    """Start a program of this project in a session of its own, of which nothing is left when the test is over."""
    started = []

    def begin(*words, **more):
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        end_session(process.pid)
        process.communicate()


@pytest.fixture
def program(start):
    """Run a program of this project to its end."""

    def to_the_end(*words, **more):
        process = start(*words, **more)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return to_the_end


@pytest.fixture
def search(program):
    return lambda *words, **more: program("-m", "search", *words, **more)


def end_session(leader):
    """Kill what a driver left running: Ray's agents outlive a driver that was killed by minutes."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                os.kill(int(stat.parent.name), signal.SIGKILL)
