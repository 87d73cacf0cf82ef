"""Asking every node of a Ray how it is: all at once, each by an actor that is held to it, none for ever."""

from __future__ import annotations

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
from cluster.doctor.node_facts import Ask, Probe, Storage, data_hash, new_ask
from trainable.machine.versions import code_hashes, versions
from trainable.printing import Progress

BLOCK = 64 * 2**20  # bytes that each node fetches from the object store
LOOKS = 5  # at each clock; the one that took the least time counts
AT_ONCE = 64  # nodes that are asked at once
HERE = "this machine"


def examine(
    runs: str, data: str | None, patience: float, progress: Progress, probe: type[Probe] = Probe
) -> tuple[list[Node], list[Problem]]:
    """Ask every node of the Ray this process is connected to; those with problems come first."""
    here = Reference(versions(), code_hashes(), None if data is None else data_hash(data))
    storage, ask, problems = _leave_word(runs, data, probe)
    try:
        nodes = _ask_all(ask, patience, progress, probe, storage)
    finally:
        if storage is not None:
            _take_back(storage, [ask.name, *map(ask.answer, _alive())])
    problems += problems_of(nodes, here)
    return ordered(nodes, problems), problems


def _leave_word(runs: str, data: str | None, probe: type[Probe]) -> tuple[Storage | None, Ask, list[Problem]]:
    """Where this machine cannot write itself, no node is asked about it."""
    ask = new_ask(runs, data)
    try:
        storage = probe.open_storage(runs)
        storage.write(ask.name, ask.word)
    except Exception as error:  # noqa: BLE001  what a storage raises is what there is to tell
        problem = Problem(HERE, f"{runs}: cannot be written to: {error}", "name another place for runs: --runs")
        return None, Ask(None, ask.name, ask.word, data), [problem]
    return storage, ask, []


def _take_back(storage: Storage, names: Sequence[str]) -> None:
    for name in names:
        with suppress(Exception):  # the problems of a storage are told already
            storage.delete(name)


def _alive() -> dict[str, dict[str, Any]]:
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _ask_all(ask: Ask, patience: float, progress: Progress, probe: type[Probe], storage: Storage | None) -> list[Node]:
    alive = _alive()
    block = ray.put(bytes(BLOCK))
    one_by_one = threading.Lock()  # two that fetch at once would each be told half the speed
    actor = ray.remote(num_cpus=0, max_restarts=0)(_with_fetching(probe))
    found = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = {
            pool.submit(_Asked(node, ask, actor, block, storage, one_by_one, patience)): name
            for name, node in alive.items()
        }
        for done, future in enumerate(as_completed(asked), 1):
            found[asked[future]] = future.result()
            progress(done, len(asked))
    return [found[name] for name in alive]


def _with_fetching(probe: type[Probe]) -> type[Probe]:
    class Asked(probe):  # type: ignore[misc, valid-type]
        def fetch(self, blocks: list[Any]) -> float:
            """Seconds that a block takes to come here."""
            began = time.perf_counter()
            ray.get(blocks[0])
            return time.perf_counter() - began

    return Asked


class _Asked:
    """A conversation with one node."""

    def __init__(
        self,
        node: dict[str, Any],
        ask: Ask,
        actor: Any,
        block: Any,
        storage: Storage | None,
        one_by_one: threading.Lock,
        patience: float,
    ) -> None:
        self.id, self.ask, self.actor, self.block = node["NodeID"], ask, actor, block
        self.storage, self.one_by_one, self.patience = storage, one_by_one, patience
        self.name = f"{node['NodeManagerAddress']} ({self.id[:8]})"
        self.gpus = float(node["Resources"].get("GPU", 0.0))

    def __call__(self) -> Node:
        there = NodeAffinitySchedulingStrategy(self.id, soft=False)
        man = self.actor.options(scheduling_strategy=there).remote()
        try:
            said = self._wait(man.facts.remote(self.id, self.ask))
            skew, doubt = min((self._look(man) for _ in range(LOOKS)), key=lambda look: look[1])
            speed = self._speed(man)
            return Node(self.name, self.gpus, "", said, self._answered(), skew, doubt, speed)
        except GetTimeoutError:
            return Node(self.name, self.gpus, f"did not answer for {self.patience:g} s")
        except RayError as error:
            return Node(self.name, self.gpus, f"could not be asked: {_last_line(error)}")
        finally:
            ray.kill(man)

    def _wait(self, answer: Any) -> Any:
        return ray.get(answer, timeout=self.patience)

    def _look(self, man: Any) -> tuple[float, float]:
        """How far its clock is ahead, and half the time that asking took: it was read somewhere within that."""
        before = time.time()
        there = self._wait(man.now.remote())
        after = time.time()
        return there - (before + after) / 2, (after - before) / 2

    def _speed(self, man: Any) -> float | None:
        if self.id == ray.get_runtime_context().get_node_id():
            return None
        with self.one_by_one:
            return BLOCK / float(self._wait(man.fetch.remote([self.block])))

    def _answered(self) -> bool:
        try:
            return self.storage is None or self.storage.read(self.ask.answer(self.id)) == self.ask.word
        except Exception:  # noqa: BLE001  it was written a moment ago
            return False


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
