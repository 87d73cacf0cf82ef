"""Which machines are given fold trials: those that come are asked first, those that are of no use are left out."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import ray
from ray.exceptions import ActorDiedError

from cluster.capacity.packing import Machine
from trainable.errors import WrongMachine
from trainable.printing import say

AGAIN = 60.0  # seconds after which a node that did not reach the runs is asked once more
STARTS = 3  # workers in a row that a node could not start: it gets no more

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
        self.failed: Counter[str] = Counter()  # workers in a row that could not be started, by node
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

    def knows(self, node: str | None) -> bool:
        """Whether it has been asked and is to stay; one that is not told is not doubted."""
        return node is None or (node in self.there and node in self.welcome)

    def works(self, node: str | None) -> None:
        """A fold trial has reported from there."""
        if node is not None:
            self.failed.pop(node, None)

    def blames(self, node: str | None, words: str) -> bool:
        """Note a worker that could not be started; whether it is the node's fault, because there are others."""
        if not self.knows(node):
            return True
        if node is None or not self.there.keys() & self.welcome - {node}:
            return False
        self.failed[node] += 1
        if self.failed[node] == STARTS:
            self._leave_out(node, f"{STARTS} workers in a row could not be started; the last one said: {words}")
            self.out[node] = math.inf
        return True

    def named_by(self, error: BaseException | None) -> str | None:
        """The node on which an actor was when it came to this error, if there is a way to know."""
        if isinstance(error, WrongMachine):
            return error.node
        if isinstance(error, ActorDiedError) and error.actor_id:
            node: str | None = ray._private.state.actors(error.actor_id).get("Address", {}).get("NodeID")
            return node
        told = re.search(r"\[Node ([^\]]+)\]", str(error))  # of a runtime environment
        at = [node for node, each in self.there.items() if told and each.address == told[1]]
        return at[0] if len(at) == 1 else None

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
