"""Opening the target of a run: a local Ray, or an existing cluster whose nodes can fetch the data."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from cluster.capacity.capacity import Capacity, wait_for_machine
from cluster.capacity.nodes import NodePool
from cluster.connection.connect import connected
from cluster.connection.local_ray import local_ray
from cluster.doctor.storage_reach import check_runs, start_check
from cluster.preparation import measure_on_node, put_shipment
from trainable.data.shipment import Shipment
from trainable.errors import UserError
from trainable.machine.allotment import Target
from trainable.machine.memory_footprint import Footprint

Measure = Callable[[Shipment], Footprint]


@contextmanager
def open_target(
    target: Target, shipment: Shipment | None, measure: Measure | None
) -> Iterator[tuple[Capacity, Shipment | None]]:
    """Start or join Ray for the duration of a run; yields its capacity, and the shipment that its nodes can fetch."""
    with connected(target.address) if target.address else local_ray(target.dashboard):
        nodes = NodePool()
        if target.address:
            nodes = NodePool(partial(start_check, target.runs), check_runs(target.runs))
        measure_on: Callable[[str], Footprint] | None = None
        if target.address and shipment is not None:
            shipment = put_shipment(shipment)
        if measure is not None and shipment is not None:
            local = partial(measure, shipment)
            measure_on = partial(measure_on_node, local) if target.address else lambda kind: local()
        capacity = Capacity(target.cpu, target.gpu, measure_on, nodes)
        try:
            if target.address:
                wait_for_machine(capacity)
            elif not capacity():
                raise UserError(f"resources.gpu = {target.gpu}: a fold trial requests more GPUs than this machine has")
            yield capacity, shipment
        finally:
            capacity.release()
