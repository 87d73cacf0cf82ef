"""Whether a node can access the runs; checked before its first fold trial, whose results would otherwise be lost."""

from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.capacity.nodes import PendingCheck
from cluster.doctor.node_facts import ProbeRequest, Storage, check_storage, new_request, open_storage
from trainable.errors import UserError

PATIENCE = 60.0  # seconds for all nodes together
HINT = "Use a folder that all nodes share, or s3://BUCKET/PREFIX"
Open = Callable[[str], Storage]


def check_runs(root: str, opened: Open = open_storage, patience: float = PATIENCE) -> list[str]:
    """Refuse to start unless every node can access the runs; returns the ids of the nodes."""
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if problems := find_unreachable(root, list(nodes), opened, patience):
        listed = "; ".join(f"{nodes[node]}: {problem}" for node, problem in sorted(problems.items()))
        raise UserError(f"--runs {root}: not accessible from every node: {listed}. {HINT}")
    return list(nodes)


def find_unreachable(root: str, nodes: Sequence[str], opened: Open, patience: float) -> dict[str, str]:
    """The problems by node: each must read what this machine wrote, and this machine what the node wrote."""
    storage, request = opened(root), new_request(root, None)
    storage.write(request.name, request.content)
    try:
        checks = {_on_node(check_storage, node).remote(opened, node, request): node for node in nodes}
        done, pending = ray.wait(list(checks), num_returns=len(checks), timeout=patience)
        problems = {checks[each]: found for each in done if (found := _problem(each, storage, request, checks[each]))}
        return problems | {checks[each]: f"did not answer within {patience:g} s" for each in pending}
    finally:
        for name in (request.name, *map(request.reply_name, nodes)):
            storage.delete(name)


def start_check(root: str, node: str, opened: Open = open_storage, patience: float = PATIENCE) -> PendingCheck:
    """Start checking a node that has joined, in a task on this machine, so that the search is not blocked."""
    check = _on_node(find_unreachable, ray.get_runtime_context().get_node_id()).remote(root, [node], opened, patience)

    def poll() -> str | None:
        if not ray.wait([check], timeout=0)[0]:
            return None
        try:
            problems = ray.get(check)
        except RayError as error:
            problems = {node: str(error).strip().splitlines()[-1]}
        return f"--runs {root}: {problems[node]}. {HINT}" if problems else ""

    return poll


def _on_node(work: Callable[..., Any], node: str) -> ray.remote_function.RemoteFunction:
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(work).options(scheduling_strategy=strategy)


def _problem(check: ray.ObjectRef, storage: Storage, request: ProbeRequest, node: str) -> str:
    try:
        problem: str = ray.get(check)
    except RayError:
        return ""  # the node has just left or cannot start a worker, which says nothing about the storage
    if not problem and storage.read(request.reply_name(node)) != request.content:
        return "this machine cannot read what the node wrote there"
    return problem
