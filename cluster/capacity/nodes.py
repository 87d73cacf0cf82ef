"""The nodes that may run fold trials: new nodes are checked first, unusable ones are excluded."""

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

RETRY_SECONDS = 60.0  # until a node that could not access the runs is checked again
MAX_FAILED_STARTS = 3  # consecutive workers that fail to start before a node is excluded

PendingCheck = Callable[[], str | None]  # the problem, or "" if there is none; None while the check is running
StartCheck = Callable[[str], PendingCheck]


@dataclass(frozen=True)
class NodeInfo:
    """A node of the cluster: its address and resources."""

    address: str
    machine: Machine


def alive_nodes() -> dict[str, NodeInfo]:
    """The nodes by id, without draining ones, so that a node about to be removed gets no more fold trials."""
    leaving = ray._private.state.state.get_draining_nodes()
    return {
        node["NodeID"]: NodeInfo(node["NodeManagerAddress"], node["Resources"])
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in leaving
    }


def no_check(node: str) -> PendingCheck:
    """A Ray on this machine only needs no check."""
    return lambda: ""


class NodePool:
    """The nodes that fold trials may run on; ``accepted`` are those checked before the first fold trial.

    Ray does not see these checks, so excluded nodes are passed to its scheduler as ``avoid``.
    """

    def __init__(
        self,
        start_check: StartCheck = no_check,
        accepted: Iterable[str] = (),
        list_nodes: Callable[[], Mapping[str, NodeInfo]] = alive_nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.start_check, self.accepted, self.list_nodes, self.clock = start_check, set(accepted), list_nodes, clock
        self.pending: dict[str, PendingCheck] = {}
        self.excluded_until: dict[str, float] = {}
        self.alive: Mapping[str, NodeInfo] = {}
        self.failed_starts: Counter[str] = Counter()  # consecutive, by node
        self.failed_writes: Counter[str] = Counter()  # in this launch, by node
        self.reported: set[str] = set()

    def machines(self) -> list[Machine]:
        """The resources of the nodes that may run fold trials now."""
        self.alive = self.list_nodes()
        for node in self.alive.keys() - self.accepted:
            self._check(node)
        return [each.machine for node, each in self.alive.items() if node in self.accepted]

    @property
    def avoid(self) -> tuple[str, ...]:
        """Alive nodes that are excluded."""
        return tuple(sorted(self.alive.keys() & self.excluded_until.keys()))

    def trusts(self, node: str | None) -> bool:
        """Whether the node has passed its check and is staying; an unknown node (None) is trusted."""
        return node is None or (node in self.alive and node in self.accepted)

    def worker_reported(self, node: str | None) -> None:
        """Reset the count of failed starts: a fold trial on this node has reported."""
        if node is not None:
            self.failed_starts.pop(node, None)

    def worker_failed(self, node: str | None, error: str) -> bool:
        """Count a worker that failed to start; True if the node is to blame, which needs another accepted node."""
        if not self.trusts(node):
            return True
        if node is None or not self._others(node):
            return False
        self.failed_starts[node] += 1
        if self.failed_starts[node] == MAX_FAILED_STARTS:
            self._exclude(node, f"{MAX_FAILED_STARTS} workers in a row failed to start; last error: {error}", math.inf)
        return True

    def write_failed(self, node: str | None, problem: str) -> bool:
        """Exclude a node that cannot store its cache or its own copies; True if others can go on with its fold trials.

        For twice as long each time: nodes whose disks are too small would otherwise take turns forever.
        """
        if self.trusts(node) and (node is None or not self._others(node)):
            return False
        if node is not None and self.trusts(node):
            self._exclude(node, problem, RETRY_SECONDS * 2 ** self.failed_writes[node])
            self.failed_writes[node] += 1
        return True

    def _others(self, node: str) -> bool:
        """Whether another node may run fold trials."""
        return bool(self.alive.keys() & self.accepted - {node})

    def node_of(self, error: BaseException | None) -> str | None:
        """The node of the actor that raised this error, if it can be determined."""
        if isinstance(error, WrongMachine):
            return error.node
        if isinstance(error, ActorDiedError) and error.actor_id:
            node: str | None = ray._private.state.actors(error.actor_id).get("Address", {}).get("NodeID")
            return node
        match = re.search(r"\[Node ([^\]]+)\]", str(error))  # from a runtime environment that failed to set up
        nodes = [node for node, each in self.alive.items() if match and each.address == match[1]]
        return nodes[0] if len(nodes) == 1 else None

    def _check(self, node: str) -> None:
        """Start or poll the check of a node; an excluded node is checked again after ``RETRY_SECONDS``."""
        if node not in self.pending and self.clock() >= self.excluded_until.get(node, -math.inf):
            self.pending[node] = self.start_check(node)
        problem = self.pending[node]() if node in self.pending else None
        if problem is None:
            return
        del self.pending[node]
        if problem:
            self._exclude(node, problem)
        else:
            self.excluded_until.pop(node, None)
            self.accepted.add(node)

    def _exclude(self, node: str, reason: str, seconds: float = RETRY_SECONDS) -> None:
        self.accepted.discard(node)
        self.excluded_until[node] = self.clock() + seconds
        if node not in self.reported:
            self.reported.add(node)
            say(f"node {self.alive[node].address} ({node[:8]}) is excluded: {reason}")
