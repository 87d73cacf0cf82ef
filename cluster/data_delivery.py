"""What a cluster must be given and asked before fold trials run on it: their data, and what they take of a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import ray

from cluster.capacity.packing import KIND
from trainable.data.dataset import Split
from trainable.data.shipment import parts_of
from trainable.errors import UserError
from trainable.machine.memory_footprint import Footprint


def put_data(split: Split) -> Callable[[], Iterator[bytes]]:
    """Put the files of a split into the object store; what is given back fetches them on any node."""
    return partial(_fetch, [ray.put(part) for part in parts_of(split)])


def _fetch(parts: list[Any]) -> Iterator[bytes]:
    for part in parts:
        yield ray.get(part)


def measured_there(measure: Callable[[], Footprint], kind: str) -> Footprint:
    """What a fold trial takes of a kind of card, measured on a node that has one."""
    named = {f"{KIND}{kind}": 0.001} if kind else {}
    task = ray.remote(num_gpus=1, max_calls=1, max_retries=2, resources=named)(measure)
    try:
        footprint: Footprint = ray.get(task.remote())
    except ray.exceptions.RayTaskError as problem:
        cause = problem.cause
        raise cause if isinstance(cause, UserError) else UserError(f"{kind}: cannot be measured ({cause})") from None
    return footprint
