"""Settings that Ray has no arguments for, patched while Ray runs and restored afterwards."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray._private import parameter, ray_constants, services, worker
from ray.air._internal import usage

from cluster import worker_start
from trainable.printing import say

SWITCH = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
PRESTART = "RAY_prestart_worker_first_driver"
WORKER_DIED = "A worker died or was killed while executing a task"
KEPT: list[object] = []  # nodes that this process has started


@contextmanager
def patched_ray() -> Iterator[None]:
    """Apply the patches that every Ray of this process needs."""
    before = parameter.RayParams, worker.print_to_stdstream, usage.tag_callbacks
    # The agent's port is 52365 by default; a second Ray on the machine waits five seconds and starts without an agent.
    parameter.RayParams = partial(parameter.RayParams, dashboard_agent_listen_port=0)
    worker.print_to_stdstream = _forward_errors
    # For usage statistics Tune imports MLflow and others if they are installed, which takes a second.
    usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        parameter.RayParams, worker.print_to_stdstream, usage.tag_callbacks = before


def keep_node(node: object = None) -> None:
    """Keep a node until this process ends, by default that of the Ray that was started last.

    After a shutdown only an exit handler of Ray refers to it. Since Python 3.13, forked processes of multiprocessing
    begin by removing exit handlers, and destroying the connections of a node in a fork is a segmentation fault.
    """
    KEPT.append(node or worker._global_node)


@contextmanager
def few_processes(dashboard: bool) -> Iterator[None]:
    """Start a local Ray without processes that it does not need, each of which imports Ray.

    There is no machine to add, no driver that reads the logs of workers, and no dashboard unless one is requested.
    Workers are started when they are needed, and without importing Ray twice; Ray would start one for each core of the
    machine.
    """
    before = parameter.RayParams, services.start_api_server
    prestart = os.environ.get(PRESTART)
    parameter.RayParams = partial(
        parameter.RayParams, no_monitor=True, include_log_monitor=False, setup_worker_path=worker_start.__file__
    )
    if not dashboard:
        services.start_api_server = lambda *_, **__: ("", None)
    os.environ.setdefault(PRESTART, "0")
    try:
        yield
    finally:
        parameter.RayParams, services.start_api_server = before
        if prestart is None:
            del os.environ[PRESTART]


@contextmanager
def loopback_only() -> Iterator[None]:
    """Make a local Ray listen on 127.0.0.1 only, so that it cannot be reached from the network.

    By default Ray listens on all interfaces, and its metrics endpoint requires no token. A variable meant for Windows
    and macOS makes it use 127.0.0.1; if the user has set the variable, it is left unchanged.
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
def without_aws_credentials() -> Iterator[None]:
    """Keep Tune from sending this process's AWS keys to workers; each node uses its own credentials.

    Every node would write the keys into a Ray log that all accounts of that node can read.
    """
    from ray.tune.execution import class_cache  # late: Tune is slow to import, and only trials need it

    before = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in before if not name.startswith("AWS_")}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = before


@contextmanager
def workers_short_of_memory_fail_alone() -> Iterator[None]:
    """Make Tune treat a worker that Ray killed for lack of memory as one that died; otherwise the whole run ends."""
    from ray.air.execution._internal import actor_manager  # late, as above
    from ray.exceptions import OutOfMemoryError, RayActorError
    from ray.tune.execution import tune_controller

    modules = (actor_manager, tune_controller)
    for module in modules:
        module.RayActorError = (RayActorError, OutOfMemoryError)
    try:
        yield
    finally:
        for module in modules:
            module.RayActorError = RayActorError


def _forward_errors(data: Mapping[str, Any], *_: object, **__: object) -> None:
    """Print Ray's errors, which it writes to stdout, on stderr; the run itself reports workers that died."""
    for line in data["lines"]:
        if not line.startswith(WORKER_DIED):
            say(f"ray: {line}")
