"""Which machines are given fold trials: those that come are asked first, those that are of no use are left out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import ray

from cluster.packing import Machine
from trainable.printing import say

AGAIN = 60.0  # seconds after which a node that did not reach the runs is asked once more

Answer = Callable[[], str | None]  # what is wrong, in words, or nothing; None as long as there is no answer
Ask = Callable[[str], Answer]


@dataclass(frozen=True)
class Present:
    """A node of the cluster: its address, and what it has."""

    address: str
    machine: Machine


def present() -> dict[str, Present]:
    """The nodes that are there, by their ids; one that is about to be taken away gets no more fold trials."""
    leaving = ray._private.state.state.get_draining_nodes()
    return {
        node["NodeID"]: Present(node["NodeManagerAddress"], node["Resources"])
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in leaving
    }


def unasked(node: str) -> Answer:
    """Of a Ray of this machine alone there is nothing to ask."""
    return lambda: ""


class Nodes:
    """The nodes that fold trials may run on; ``welcome`` are those that were asked before the first one.

    Ray itself knows nothing of this: it must be told to ``avoid`` those that are left out.
    """

    def __init__(
        self,
        ask: Ask = unasked,
        welcome: Iterable[str] = (),
        look: Callable[[], Mapping[str, Present]] = present,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ask, self.welcome, self.look, self.clock = ask, set(welcome), look, clock
        self.asking: dict[str, Answer] = {}
        self.out: dict[str, float] = {}  # those that are left out, and until when
        self.there: Mapping[str, Present] = {}
        self.named: set[str] = set()

    def machines(self) -> list[Machine]:
        """What those have that may be given fold trials now."""
        self.there = self.look()
        for node in self.there.keys() - self.welcome:
            self._hear(node)
        return [each.machine for node, each in self.there.items() if node in self.welcome]

    @property
    def avoid(self) -> tuple[str, ...]:
        """Nodes that are there, and are left out."""
        return tuple(sorted(self.there.keys() & self.out.keys()))

    def _hear(self, node: str) -> None:
        """One that does not answer yet gets nothing yet; one that was left out long enough is asked again."""
        if node not in self.asking and self.clock() >= self.out.get(node, -math.inf):
            self.asking[node] = self.ask(node)
        said = self.asking[node]() if node in self.asking else None
        if said is None:
            return
        del self.asking[node]
        if said:
            self._leave_out(node, said)
        else:
            self.out.pop(node, None)
            self.welcome.add(node)

    def _leave_out(self, node: str, why: str) -> None:
        self.welcome.discard(node)
        self.out[node] = self.clock() + AGAIN
        if node not in self.named:
            self.named.add(node)
            say(f"node {self.there[node].address} ({node[:8]}) is left out: {why}")
