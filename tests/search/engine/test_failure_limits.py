"""Failures of fold trials are classified from the errors that a real Ray raises."""

import os
from types import SimpleNamespace

import pytest
import ray

from cluster.capacity.nodes import NodePool
from search.engine.failure_limits import Failure
from search.engine.ray_adapter import error_of, failure_of, message_of
from trainable.errors import WrongMachine


class Actor:
    def __init__(self, importable=True):
        if not importable:
            raise ImportError("no module of that name")

    def speak(self):
        return "here"

    def crash(self):
        raise RuntimeError("a bug")

    def refuse(self):
        raise WrongMachine("this node does not see the run", ray.get_runtime_context().get_node_id())

    def exit(self):
        os._exit(1)


NO_CODE = {"runtime_env": {"py_modules": ["gcs://_ray_pkg_0000000000000000.zip"]}}


@pytest.mark.parametrize(
    ("options", "importable", "method", "failure", "message"),
    [
        ({}, True, "crash", Failure.CRASHED, "RuntimeError: a bug"),
        ({}, True, "refuse", Failure.NOT_STARTED, "this node does not see the run"),
        ({}, True, "exit", Failure.CRASHED, "Worker unexpectedly exits with a connection error code 2. End of file."),
        ({}, False, "speak", Failure.NOT_STARTED, "ImportError: no module of that name"),
        (NO_CODE, True, "speak", Failure.NOT_STARTED, "OSError: Failed to download runtime_env file package"),
    ],
    ids=["exception", "wrong node", "process exit", "constructor", "missing code"],
)
def test_errors_of_an_actor_are_classified(cluster, options, importable, method, failure, message):
    actor = ray.remote(Actor).options(**options).remote(importable)
    with pytest.raises(ray.exceptions.RayError) as raised:
        ray.get(getattr(actor, method).remote())
    assert failure_of(raised.value) is failure
    assert message in message_of(raised.value).splitlines()[-1]
    nodes = NodePool()
    nodes.machines()
    here = ray.get_runtime_context().get_node_id()
    assert nodes.node_of(raised.value) == (None if method == "crash" else here)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ray.exceptions.RuntimeEnvSetupError("No space left on device"), Failure.NOT_STARTED),
        (
            ray.exceptions.OutOfMemoryError("3 workers were killed due to the node running low on memory"),
            Failure.OUT_OF_MEMORY,
        ),
        (ray.exceptions.RaySystemError("something else"), Failure.CRASHED),
    ],
    ids=["runtime environment", "out of memory", "other"],
)
def test_errors_of_which_tune_keeps_only_the_message_are_classified(tmp_path, error, failure):
    (tmp_path / "error.txt").write_text(f"Failure # 1 (occurred at 12:00)\n{error}\n")
    trial = SimpleNamespace(pickled_error_file=None, error_file=str(tmp_path / "error.txt"))
    assert failure_of(error_of(trial)) is failure
