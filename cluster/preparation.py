"""Preparing a cluster for fold trials: their data in the object store, and their memory measured on each GPU type."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import ray

from cluster.capacity.packing import GPU_TYPE
from trainable.data.shipment import Shipment, parts_of
from trainable.errors import UserError, first_line
from trainable.machine.memory_footprint import Footprint


def put_shipment(shipment: Shipment) -> Shipment:
    """Put the files of a shipment into the object store, from which any node can fetch them."""
    weights = {name: replace(file, fetch=_put(file.parts())) for name, file in shipment.weights.items()}
    return replace(shipment, fetch=_put(parts_of(*shipment.files())), weights=weights)


def _put(parts: Iterable[bytes]) -> Callable[[], Iterator[bytes]]:
    return partial(_fetch, [ray.put(part) for part in parts])


def _fetch(parts: list[Any]) -> Iterator[bytes]:
    for part in parts:
        yield ray.get(part)


def measure_on_node(measure: Callable[[], Footprint], kind: str) -> Footprint:
    """Measure the memory of a fold trial on a node with this kind of GPU."""
    resources = {f"{GPU_TYPE}{kind}": 0.001} if kind else {}
    task = ray.remote(num_gpus=1, max_calls=1, max_retries=2, resources=resources)(measure)
    try:
        footprint: Footprint = ray.get(task.remote())
    except ray.exceptions.RayError as problem:  # also if its worker or node died
        cause = getattr(problem, "cause", problem)
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"{kind}: memory cannot be measured ({first_line(cause)})") from None
    return footprint
