"""The current capacity for fold trials: polled from Ray as machines come and go, and requests to its autoscaler."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ray.autoscaler.sdk import request_resources

from cluster.capacity.nodes import NodePool, alive_nodes
from cluster.capacity.packing import Machine, allotments_of, gpu_count, kind_of
from cluster.connection.connect import connected
from cluster.connection.local_ray import local_ray
from trainable.errors import UserError
from trainable.machine.allotment import Allotment
from trainable.machine.memory_footprint import Footprint
from trainable.printing import say

REFRESH_SECONDS = 2.0

Measure = Callable[[str], Footprint]


def machines_at(address: str | None) -> list[tuple[str, Machine]]:
    """The machines of a cluster with their addresses, or this machine if ``address`` is None."""
    with connected(address) if address else local_ray(dashboard=False):
        return [(each.address, each.machine) for each in alive_nodes().values()]


class Capacity:
    """The allotments on the current machines; a new kind of GPU is measured in a background thread before use."""

    def __init__(
        self,
        cpu: float | str,
        gpu: float | str,
        measure: Measure | None,
        nodes: NodePool | None = None,
        request: Callable[..., None] = request_resources,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cpu, self.gpu = cpu, gpu
        self.measure = measure if gpu == "auto" else None
        self.nodes = nodes or NodePool()
        self.request, self.clock = request, clock
        self.allotments: Sequence[Allotment] = ()
        self.due = self.request_due = -math.inf
        self.measured: dict[str, Future[Footprint]] = {}
        self.excluded: set[str] = set()
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="footprint")

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles its arguments to restore them later, which this project never does."""
        return (str, ())

    def __call__(self) -> Sequence[Allotment]:
        if self.clock() >= self.due:
            self.due = self.clock() + REFRESH_SECONDS
            machines = self._usable(self.nodes.machines())
            allotments = allotments_of(machines, self.cpu, self.gpu, self._footprint if self.measure else None)
            self.allotments = [replace(allotment, avoid=self.nodes.avoid) for allotment in allotments]
        return self.allotments

    def request_machines(self, running: int, more: Callable[[], bool]) -> None:
        """Request what is in use from the autoscaler, and twice as much if there are ``more`` jobs.

        The autoscaler removes machines beyond the request once they are idle.
        """
        if self.clock() < self.request_due:
            return
        self.request_due = self.clock() + REFRESH_SECONDS
        wanted = max(1, 2 * running) if more() else running
        assumed = Allotment(1.0, 0.0 if isinstance(self.gpu, str) else self.gpu)
        allotment = self.allotments[0] if self.allotments else assumed
        bundle = {"GPU": 1.0} if allotment.gpus else {"CPU": allotment.cpus}
        self.request(bundles=[bundle] * math.ceil(wanted * min(1.0, allotment.gpus or 1.0)))

    def release(self) -> None:
        """Withdraw the request to the autoscaler at the end of the run."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        with suppress(Exception):  # the cluster itself may be gone
            self.request(bundles=[])

    def _usable(self, machines: list[Machine]) -> list[Machine]:
        """Machines whose GPU type is measured, or that have no GPU; blocks until the first measurement is done."""
        if self.measure is None:
            return machines
        for kind in dict.fromkeys(kind_of(machine) for machine in machines if gpu_count(machine)):
            if kind not in self.measured:
                self.measured[kind] = self.executor.submit(self.measure, kind)
        if self.measured and not any(each.done() for each in self.measured.values()):
            next(iter(self.measured.values())).exception()
        usable = [kind for kind, future in self.measured.items() if future.done() and self._fits(kind, future)]
        if self.measured and not usable and len(self.excluded) == len(self.measured):
            next(iter(self.measured.values())).result()
        return [machine for machine in machines if not gpu_count(machine) or kind_of(machine) in usable]

    def _fits(self, kind: str, measurement: Future[Footprint]) -> bool:
        """A config that is too large for one kind of GPU may still run on another."""
        problem = measurement.exception()
        if problem is None:
            return True
        if not isinstance(problem, UserError):
            raise problem
        if kind not in self.excluded:
            self.excluded.add(kind)
            say(f"{kind or 'this GPU'} is not used: {problem}")
        return False

    def _footprint(self, kind: str) -> Footprint:
        return self.measured[kind].result()


def wait_for_machine(capacity: Capacity, sleep: Callable[[float], Any] = time.sleep) -> None:
    """Wait until a fold trial fits on some machine; an autoscaling cluster may start without workers."""
    announced = False
    while not capacity():
        if not announced:
            say("no machine of the cluster has room for a fold trial yet; requested one, waiting (Ctrl-C to stop)")
            announced = True
        capacity.request_machines(0, lambda: True)
        sleep(REFRESH_SECONDS)
