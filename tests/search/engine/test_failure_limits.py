"""Why the process of a fold trial is gone, by what a real Ray says of it."""

import os
from types import SimpleNamespace

import pytest
import ray

from cluster.capacity.nodes import Nodes
from search.engine.failure_limits import Failure
from search.engine.ray_adapter import error_of, failure_of, message_of
from trainable.errors import WrongMachine


class Actor:
    def __init__(self, good=True):
        if not good:
            raise ImportError("no module of that name")

    def speak(self):
        return "here"

    def crash(self):
        raise RuntimeError("a bug")

    def refuse(self):
        raise WrongMachine("this one does not see the run", ray.get_runtime_context().get_node_id())

    def vanish(self):
        os._exit(1)


NO_CODE = {"runtime_env": {"py_modules": ["gcs://_ray_pkg_0000000000000000.zip"]}}


@pytest.mark.parametrize(
    ("options", "good", "method", "death", "words"),
    [
        ({}, True, "crash", Failure.CRASHED, "RuntimeError: a bug"),
        ({}, True, "refuse", Failure.NOT_STARTED, "this one does not see the run"),
        ({}, True, "vanish", Failure.CRASHED, "Worker unexpectedly exits with a connection error code 2. End of file."),
        ({}, False, "speak", Failure.NOT_STARTED, "ImportError: no module of that name"),
        (NO_CODE, True, "speak", Failure.NOT_STARTED, "OSError: Failed to download runtime_env file package"),
    ],
    ids=["crashed", "refused", "vanished", "not made", "without code"],
)
def test_whose_fault_a_death_is(cluster, options, good, method, death, words):
    actor = ray.remote(Actor).options(**options).remote(good)
    with pytest.raises(ray.exceptions.RayError) as told:
        ray.get(getattr(actor, method).remote())
    assert failure_of(told.value) is death
    assert words in message_of(told.value).splitlines()[-1]
    nodes = Nodes()
    nodes.machines()
    here = ray.get_runtime_context().get_node_id()
    assert nodes.named_by(told.value) == (None if method == "crash" else here)


@pytest.mark.parametrize(
    ("error", "death"),
    [
        (ray.exceptions.RuntimeEnvSetupError("No space left on device"), Failure.NOT_STARTED),
        (
            ray.exceptions.OutOfMemoryError("3 workers were killed due to the node running low on memory"),
            Failure.OUT_OF_MEMORY,
        ),
        (ray.exceptions.RaySystemError("something else"), Failure.CRASHED),
    ],
    ids=["without code", "out of memory", "another"],
)
def test_an_error_of_which_tune_keeps_only_the_words(tmp_path, error, death):
    (tmp_path / "error.txt").write_text(f"Failure # 1 (occurred at 12:00)\n{error}\n")
    trial = SimpleNamespace(pickled_error_file=None, error_file=str(tmp_path / "error.txt"))
    assert failure_of(error_of(trial)) is death
