"""A Ray that many tests share, and programs that leave nothing behind."""

import logging
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 150.0  # seconds that a program may take on a busy machine


@pytest.fixture(scope="session")
def cluster():
    """A Ray of two cores and a GPU that is only said to be there: all that scripted trials need; its address."""
    import ray

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
        environment.setenv("CUDA_VISIBLE_DEVICES", "0")
        ray.init(
            "local",
            num_cpus=2,
            num_gpus=1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture
def joined(cluster):
    """The Ray that programs run on: the shared one, unless a file has machines of its own.

    As jobs of it, whose workers have the code already: sending it would start each worker twice.
    """
    return {"RAY_ADDRESS": cluster, "RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {}}'}


@pytest.fixture
def environment(small_cache, joined):
    """Of programs; RAY_ADDRESS="" would start a Ray of their own."""
    ours = {"SCRIBBLE_SEARCH_CACHE": str(small_cache), "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    return os.environ | ours | joined


@pytest.fixture
def start(tmp_path, environment, fork_server):
    """Start a program of this project in a session of its own, of which nothing is left when the test is over."""
    started = []

    def begin(*words, **more):
        process = fork_server.start(words, tmp_path, environment | more)
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
