"""Whether every node reaches the runs: asked before the first trial, which would otherwise train for nobody."""

from __future__ import annotations

from collections.abc import Callable

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.facts import Ask, Storage, new_ask, open_storage, use_storage
from trainable.errors import UserError

PATIENCE = 60.0  # seconds for all nodes together
Open = Callable[[str], Storage]


def check_runs(root: str, opened: Open = open_storage, patience: float = PATIENCE) -> None:
    """Every node must read what this machine wrote there, and this machine what the node wrote."""
    storage, ask = opened(root), new_ask(root, None)
    storage.write(ask.name, ask.word)
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    try:
        asked = {_there(node).remote(opened, node, ask): node for node in nodes}
        done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=patience)
        wrong = {nodes[asked[each]]: words for each in done if (words := _answer(each, storage, ask, asked[each]))}
        wrong |= {nodes[asked[each]]: f"did not answer for {patience:g} s" for each in silent}
    finally:
        for name in (ask.name, *map(ask.answer, nodes)):
            storage.delete(name)
    if wrong:
        told = "; ".join(f"{node}: {words}" for node, words in sorted(wrong.items()))
        raise UserError(
            f"--runs {root}: not every node reaches it: {told}. Name a folder that all nodes share, or s3://BUCKET/PREFIX"
        )


def _there(node: str) -> ray.remote_function.RemoteFunction:
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(use_storage).options(scheduling_strategy=strategy)


def _answer(said: ray.ObjectRef, storage: Storage, ask: Ask, node: str) -> str:
    try:
        words: str = ray.get(said)
    except RayError:
        return ""  # a node that has just left, or cannot start a worker, is not the storage's fault
    if not words and storage.read(ask.answer(node)) != ask.word:
        return "this machine does not see there what it wrote"
    return words
