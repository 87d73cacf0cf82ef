"""Preparing a cluster for fold trials: their data in the object store, and their memory measured on each GPU type."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import ray

from cluster.capacity.packing import GPU_TYPE
from trainable.data.dataset import Split
from trainable.data.shipment import parts_of
from trainable.errors import UserError
from trainable.machine.memory_footprint import Footprint


def put_data(*splits: Split) -> Callable[[], Iterator[bytes]]:
    """Put the files of splits into the object store; the returned function fetches them on any node."""
    return partial(_fetch, [ray.put(part) for part in parts_of(*splits)])


def _fetch(parts: list[Any]) -> Iterator[bytes]:
    for part in parts:
        yield ray.get(part)


def measure_on_node(measure: Callable[[], Footprint], kind: str) -> Footprint:
    """Measure the memory of a fold trial on a node with this kind of GPU."""
    resources = {f"{GPU_TYPE}{kind}": 0.001} if kind else {}
    task = ray.remote(num_gpus=1, max_calls=1, max_retries=2, resources=resources)(measure)
    try:
        footprint: Footprint = ray.get(task.remote())
    except ray.exceptions.RayTaskError as problem:
        cause = problem.cause
        raise (
            cause if isinstance(cause, UserError) else UserError(f"{kind}: memory cannot be measured ({cause})")
        ) from None
    return footprint
