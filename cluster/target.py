"""Where a run is to run: a Ray of this machine, or a cluster that is there already; the data lie ready on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from cluster.capacity.capacity import Capacity, wait_for_room
from cluster.capacity.nodes import Nodes
from cluster.connection.connect import connected
from cluster.connection.local_ray import local_ray
from cluster.data_delivery import measured_there, put_data
from cluster.doctor.storage_reach import asked_aside, check_runs
from trainable.data.dataset import open_split
from trainable.data.shipment import Shipment
from trainable.errors import UserError
from trainable.machine.allotment import Place
from trainable.machine.memory_footprint import Footprint

Measure = Callable[[Shipment], Footprint]


@contextmanager
def opened(
    place: Place, shipment: Shipment | None, measure: Measure | None
) -> Iterator[tuple[Capacity, Shipment | None]]:
    """A Ray that is there while this is held, and the data where every node of it finds them."""
    ray_there = connected(place.address) if place.address else local_ray(place.dashboard)
    with ray_there:
        nodes = Nodes()
        if place.address:
            nodes = Nodes(partial(asked_aside, place.runs), check_runs(place.runs))
        at: Callable[[str], Footprint] | None = None
        if place.address and shipment is not None:
            shipment = replace(shipment, fetch=put_data(open_split(shipment.folder, shipment.split)))
        if measure is not None and shipment is not None:
            here = partial(measure, shipment)
            at = partial(measured_there, here) if place.address else lambda kind: here()
        capacity = Capacity(place.cpu, place.gpu, at, nodes)
        try:
            if place.address:
                wait_for_room(capacity)
            elif not capacity():
                raise UserError(f"resources.gpu = {place.gpu}: a fold trial asks for more GPUs than there are")
            yield capacity, shipment
        finally:
            capacity.no_more()
