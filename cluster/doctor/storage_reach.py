"""Whether every node reaches the runs: asked before it gets its first trial, which would otherwise train for nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.capacity.nodes import Answer
from cluster.doctor.node_facts import Ask, Storage, new_ask, open_storage, use_storage
from trainable.errors import UserError

PATIENCE = 60.0  # seconds for all nodes together
HINT = "Name a folder that all nodes share, or s3://BUCKET/PREFIX"
Open = Callable[[str], Storage]


def check_runs(root: str, opened: Open = open_storage, patience: float = PATIENCE) -> list[str]:
    """Refuse to begin unless every node reaches the runs; the ids of the nodes."""
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if wrong := unreached(root, list(nodes), opened, patience):
        told = "; ".join(f"{nodes[node]}: {words}" for node, words in sorted(wrong.items()))
        raise UserError(f"--runs {root}: not every node reaches it: {told}. {HINT}")
    return list(nodes)


def unreached(root: str, nodes: Sequence[str], opened: Open, patience: float) -> dict[str, str]:
    """Every node must read what this machine wrote there, and this machine what the node wrote; who fails, and why."""
    storage, ask = opened(root), new_ask(root, None)
    storage.write(ask.name, ask.word)
    try:
        asked = {_there(use_storage, node).remote(opened, node, ask): node for node in nodes}
        done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=patience)
        wrong = {asked[each]: words for each in done if (words := _answer(each, storage, ask, asked[each]))}
        return wrong | {asked[each]: f"did not answer for {patience:g} s" for each in silent}
    finally:
        for name in (ask.name, *map(ask.answer, nodes)):
            storage.delete(name)


def asked_aside(root: str, node: str, opened: Open = open_storage, patience: float = PATIENCE) -> Answer:
    """Begin to ask a node that has come, by a task on this machine: the search goes on meanwhile."""
    here = _there(unreached, ray.get_runtime_context().get_node_id())
    asked = here.remote(root, [node], opened, patience)

    def answer() -> str | None:
        if not ray.wait([asked], timeout=0)[0]:
            return None
        try:
            wrong = ray.get(asked)
        except RayError as problem:
            wrong = {node: str(problem).strip().splitlines()[-1]}
        return f"--runs {root}: {wrong[node]}. {HINT}" if wrong else ""

    return answer


def _there(work: Callable[..., Any], node: str) -> ray.remote_function.RemoteFunction:
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(work).options(scheduling_strategy=strategy)


def _answer(said: ray.ObjectRef, storage: Storage, ask: Ask, node: str) -> str:
    try:
        words: str = ray.get(said)
    except RayError:
        return ""  # a node that has just left, or cannot start a worker, is not the storage's fault
    if not words and storage.read(ask.answer(node)) != ask.word:
        return "this machine does not see there what it wrote"
    return words
