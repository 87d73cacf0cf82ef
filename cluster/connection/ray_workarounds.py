"""What Ray has no argument for; all of it is as it was once a Ray has ended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray._private import parameter, ray_constants, worker
from ray.air._internal import usage

from trainable.printing import say

SWITCH = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
TOLD_ALREADY = "A worker died or was killed while executing a task"


@contextmanager
def filled_in() -> Iterator[None]:
    """To be held while a Ray of this process lives."""
    before = parameter.RayParams, worker.print_to_stdstream, usage.tag_callbacks
    # Every Ray wants port 52365 for its node's agent; the second on a machine starts five seconds later, without one.
    parameter.RayParams = partial(parameter.RayParams, dashboard_agent_listen_port=0)
    worker.print_to_stdstream = _pass_on
    # Tune loads MLflow and others, where they are installed, only to count our callbacks among theirs: a second.
    usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        parameter.RayParams, worker.print_to_stdstream, usage.tag_callbacks = before


@contextmanager
def on_loopback() -> Iterator[None]:
    """To be held while a Ray of this machine alone lives: nobody on the network finds a door to it.

    A Ray that knows itself by this machine's address listens at every address, and asks for no token where it tells
    its metrics; by a switch meant for other systems it is 127.0.0.1 and listens there alone. Who has set the switch
    gets what was asked for.
    """
    if SWITCH in os.environ:
        yield
        return
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER, os.environ[SWITCH] = False, "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[SWITCH]


@contextmanager
def credentials_kept() -> Iterator[None]:
    """To be held while Tune starts workers: what they may ask a storage with, each node knows by itself.

    Tune would send them this process's AWS keys, which every node of the cluster then writes into a log of Ray's that
    every account of that node can read.
    """
    from ray.tune.execution import class_cache  # late: whoever runs no trials need not wait for Tune

    before = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in before if not name.startswith("AWS_")}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = before


def _pass_on(data: Mapping[str, Any], *_: object, **__: object) -> None:
    """Ray's own errors, which it prints on stdout; that a worker died the run tells itself, in its own words."""
    for line in data["lines"]:
        if not line.startswith(TOLD_ALREADY):
            say(f"ray: {line}")
