"""Probing all nodes of a cluster in parallel, each with an actor pinned to it and a timeout."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.doctor.health import Node, Problem, Reference, ordered, problems_of
from cluster.doctor.node_facts import Probe, ProbeRequest, Storage, data_hash, new_request
from trainable.machine.versions import code_hashes, versions
from trainable.printing import Progress

BLOCK = 64 * 2**20  # bytes that each node fetches from the object store
CLOCK_READS = 5  # per node; the fastest one counts
MAX_PARALLEL = 64  # nodes
HERE = "this machine"


def examine(
    runs: str, data: str | None, patience: float, progress: Progress, probe: type[Probe] = Probe
) -> tuple[list[Node], list[Problem]]:
    """Probe every node of the connected cluster; nodes with problems come first."""
    here = Reference(versions(), code_hashes(), None if data is None else data_hash(data))
    storage, request, problems = _write_marker(runs, data, probe)
    try:
        nodes = _ask_all(request, patience, progress, probe, storage)
    finally:
        if storage is not None:
            _delete_markers(storage, [request.name, *map(request.reply_name, _alive())])
    problems += problems_of(nodes, here)
    return ordered(nodes, problems), problems


def _write_marker(
    runs: str, data: str | None, probe: type[Probe]
) -> tuple[Storage | None, ProbeRequest, list[Problem]]:
    """Write the marker file; if this machine cannot write it, the storage of the nodes is not checked."""
    request = new_request(runs, data)
    try:
        storage = probe.open_storage(runs)
        storage.write(request.name, request.content)
    except Exception as error:  # noqa: BLE001  any error of the storage is reported as a problem
        problem = Problem(HERE, f"{runs}: cannot be written to: {error}", "choose another folder with --runs")
        return None, ProbeRequest(None, request.name, request.content, data), [problem]
    return storage, request, []


def _delete_markers(storage: Storage, names: Sequence[str]) -> None:
    for name in names:
        with suppress(Exception):  # problems of the storage are already reported
            storage.delete(name)


def _alive() -> dict[str, dict[str, Any]]:
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _ask_all(
    request: ProbeRequest, patience: float, progress: Progress, probe: type[Probe], storage: Storage | None
) -> list[Node]:
    alive = _alive()
    block = ray.put(bytes(BLOCK))
    fetch_lock = threading.Lock()  # parallel transfers would share the bandwidth
    actor = ray.remote(num_cpus=0, max_restarts=0)(_with_fetching(probe))
    nodes = {}
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        futures = {
            pool.submit(_NodeProbe(node, request, actor, block, storage, fetch_lock, patience)): name
            for name, node in alive.items()
        }
        for done, future in enumerate(as_completed(futures), 1):
            nodes[futures[future]] = future.result()
            progress(done, len(futures))
    return [nodes[name] for name in alive]


def _with_fetching(probe: type[Probe]) -> type[Probe]:
    class FetchingProbe(probe):  # type: ignore[misc, valid-type]
        def fetch(self, blocks: list[Any]) -> float:
            """Seconds that the transfer of a block takes."""
            began = time.perf_counter()
            ray.get(blocks[0])
            return time.perf_counter() - began

    return FetchingProbe


class _NodeProbe:
    """The probe of one node."""

    def __init__(
        self,
        node: dict[str, Any],
        request: ProbeRequest,
        actor: Any,
        block: Any,
        storage: Storage | None,
        fetch_lock: threading.Lock,
        patience: float,
    ) -> None:
        self.id, self.request, self.actor, self.block = node["NodeID"], request, actor, block
        self.storage, self.fetch_lock, self.patience = storage, fetch_lock, patience
        self.name = f"{node['NodeManagerAddress']} ({self.id[:8]})"
        self.gpus = float(node["Resources"].get("GPU", 0.0))

    def __call__(self) -> Node:
        pinned = NodeAffinitySchedulingStrategy(self.id, soft=False)
        probe = self.actor.options(scheduling_strategy=pinned).remote()
        try:
            facts = self._wait(probe.facts.remote(self.id, self.request))
            skew, skew_error = min((self._clock_skew(probe) for _ in range(CLOCK_READS)), key=lambda read: read[1])
            speed = self._speed(probe)
            return Node(self.name, self.gpus, "", facts, self._wrote_back(), skew, skew_error, speed)
        except GetTimeoutError:
            return Node(self.name, self.gpus, f"did not answer within {self.patience:g} s")
        except RayError as error:
            return Node(self.name, self.gpus, f"could not be probed: {_last_line(error)}")
        finally:
            ray.kill(probe)

    def _wait(self, reference: Any) -> Any:
        return ray.get(reference, timeout=self.patience)

    def _clock_skew(self, probe: Any) -> tuple[float, float]:
        """How far the node's clock is ahead, and the error of that: half the round-trip time."""
        before = time.time()
        remote = self._wait(probe.now.remote())
        after = time.time()
        return remote - (before + after) / 2, (after - before) / 2

    def _speed(self, probe: Any) -> float | None:
        if self.id == ray.get_runtime_context().get_node_id():
            return None
        with self.fetch_lock:
            return BLOCK / float(self._wait(probe.fetch.remote([self.block])))

    def _wrote_back(self) -> bool:
        try:
            return self.storage is None or self.storage.read(self.request.reply_name(self.id)) == self.request.content
        except Exception:  # noqa: BLE001  any error means that the reply is not readable
            return False


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
