"""Three things that Ray has no argument for; all are as they were once a Ray has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray._private import parameter, worker
from ray.air._internal import usage

from trainable.printing import say

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


def _pass_on(data: Mapping[str, Any], *_: object, **__: object) -> None:
    """Ray's own errors, which it prints on stdout; that a worker died the run tells itself, in its own words."""
    for line in data["lines"]:
        if not line.startswith(TOLD_ALREADY):
            say(f"ray: {line}")
