"""A shared Ray, and programs whose processes are cleaned up."""

import logging
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from forked_child import CHILDREN

ROOT = Path(__file__).parents[2]
TIMEOUT = 150.0  # seconds for a program on a busy machine


@pytest.fixture
def cluster(fork_server):
    """A Ray of two cores and a declared GPU, which is all that scripted trials need; returns its address.

    Its workers are forked, which saves the seconds in which each would import Ray.

    Tests of one process share it. Tests that connect to a Ray of their own shut it down, and it is started again.
    """
    import ray

    from cluster.connection.ray_workarounds import few_processes, keep_node

    if not ray.is_initialized():
        forked = fork_server.forking_children()
        with pytest.MonkeyPatch.context() as environment, few_processes(dashboard=False), forked:
            environment.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
            environment.setenv("CUDA_VISIBLE_DEVICES", "0")
            environment.chdir(ROOT)  # the folder of the present test is removed after it
            ray.init(
                "local",
                num_cpus=2,
                num_gpus=1,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
            keep_node()
    return ray.get_runtime_context().gcs_address


@pytest.fixture
def joined(cluster):
    """The variables with which programs join the shared Ray, unless a file overrides them.

    The workers have the code already; sending it would start each worker twice.
    """
    return {"RAY_ADDRESS": cluster, "RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {}}'}


@pytest.fixture
def environment(small_cache, joined):
    """The environment of programs; with RAY_ADDRESS="" they start their own Ray."""
    variables = {"SCRIBBLE_SEARCH_CACHE": str(small_cache), "NO_COLOR": "1", "PYTHONPATH": str(ROOT), CHILDREN: "1"}
    return os.environ | variables | joined


@pytest.fixture
def start(tmp_path, environment, fork_server):
    """Start a program of this project in its own process session, which is killed at the end of the test."""
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
    """Run a program of this project until it ends."""

    def run_to_end(*words, **more):
        process = start(*words, **more)
        out, err = process.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return run_to_end


@pytest.fixture
def search(program):
    return lambda *words, **more: program("-m", "search", *words, **more)


def end_session(leader):
    """Kill the remaining processes of a driver, because Ray's agents outlive a killed driver by minutes."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                os.kill(int(stat.parent.name), signal.SIGKILL)
