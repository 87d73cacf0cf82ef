"""Where fold trials may run, asked of Ray again and again, for machines come and go; and what more would be used."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ray.autoscaler.sdk import request_resources

from cluster.capacity.nodes import Nodes, present
from cluster.capacity.packing import Machine, cards, kind_of, shares_of
from cluster.connection.connect import connected
from cluster.connection.local_ray import local_ray
from trainable.errors import UserError
from trainable.machine.allotment import Share
from trainable.machine.memory_footprint import Footprint
from trainable.printing import say

SECONDS = 2.0  # between two looks

Measure = Callable[[str], Footprint]


def machines_at(address: str | None) -> list[tuple[str, Machine]]:
    """The machines of a cluster by their addresses, or this one."""
    with connected(address) if address else local_ray(dashboard=False):
        return [(each.address, each.machine) for each in present().values()]


class Capacity:
    """The shares of the machines that there are now. A kind of GPU that was never seen is measured first, aside."""

    def __init__(
        self,
        cpu: float | str,
        gpu: float | str,
        measure: Measure | None,
        nodes: Nodes | None = None,
        request: Callable[..., None] = request_resources,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cpu, self.gpu = cpu, gpu
        self.measure = measure if gpu == "auto" else None
        self.nodes = nodes or Nodes()
        self.request, self.clock = request, clock
        self.shares: Sequence[Share] = ()
        self.due = self.hint_due = -math.inf
        self.measured: dict[str, Future[Footprint]] = {}
        self.left_out: set[str] = set()
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="footprint")

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles whatever it is given, to restore it some day; we never do."""
        return (str, ())

    def __call__(self) -> Sequence[Share]:
        if self.clock() >= self.due:
            self.due = self.clock() + SECONDS
            there = self._known(self.nodes.machines())
            shares = shares_of(there, self.cpu, self.gpu, self._footprint if self.measure else None)
            self.shares = [replace(share, avoid=self.nodes.avoid) for share in shares]
        return self.shares

    def hint(self, running: int, more: Callable[[], bool]) -> None:
        """Tell an autoscaler what is used, and as much again where ``more`` would be; it lets idle machines go."""
        if self.clock() < self.hint_due:
            return
        self.hint_due = self.clock() + SECONDS
        wanted = max(1, 2 * running) if more() else running
        share = self.shares[0] if self.shares else Share(1.0, 0.0 if isinstance(self.gpu, str) else self.gpu)
        card = {"GPU": 1.0} if share.gpus else {"CPU": share.cpus}
        self.request(bundles=[card] * math.ceil(wanted * min(1.0, share.gpus or 1.0)))

    def no_more(self) -> None:
        """The run is over: machines that came for it may go."""
        self.worker.shutdown(wait=False, cancel_futures=True)
        with suppress(Exception):  # it may be the end of the cluster that ended the run
            self.request(bundles=[])

    def _known(self, there: list[Machine]) -> list[Machine]:
        """Those that need no measurement, or have it. The first kind is waited for: there is nothing to do before."""
        if self.measure is None:
            return there
        for kind in dict.fromkeys(kind_of(machine) for machine in there if cards(machine)):
            if kind not in self.measured:
                self.measured[kind] = self.worker.submit(self.measure, kind)
        if self.measured and not any(each.done() for each in self.measured.values()):
            next(iter(self.measured.values())).exception()
        usable = [kind for kind, taken in self.measured.items() if taken.done() and self._fits(kind, taken)]
        if self.measured and not usable and len(self.left_out) == len(self.measured):
            next(iter(self.measured.values())).result()
        return [machine for machine in there if not cards(machine) or kind_of(machine) in usable]

    def _fits(self, kind: str, taken: Future[Footprint]) -> bool:
        """A config that is too large for one kind of card may still run on another."""
        problem = taken.exception()
        if problem is None:
            return True
        if not isinstance(problem, UserError):
            raise problem
        if kind not in self.left_out:
            self.left_out.add(kind)
            say(f"{kind or 'this GPU'} is left out: {problem}")
        return False

    def _footprint(self, kind: str) -> Footprint:
        return self.measured[kind].result()


def wait_for_room(capacity: Capacity, sleep: Callable[[float], Any] = time.sleep) -> None:
    """Until some machine can hold a fold trial; a cluster may begin with none, and get them as they are asked for."""
    told = False
    while not capacity():
        if not told:
            say("no machine of the cluster can hold a fold trial yet; one is asked for (Ctrl-C ends the waiting)")
            told = True
        capacity.hint(0, lambda: True)
        sleep(SECONDS)
