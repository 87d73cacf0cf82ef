"""The output of ``doctor``: a JSON document, and table rows."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from cluster.doctor.health import Node, Problem

COLUMNS = (
    *("node", "problems", "host", "gpus", "driver", "cores", "memory_gb", "python", "torch", "ray"),
    *("temp_gb", "cache_gb", "runs", "data", "clock_s", "mb_per_s"),
)


def document(nodes: Iterable[Node], problems: Iterable[Problem]) -> dict[str, Any]:
    """For JSON, in bytes and seconds."""
    return {"nodes": [_node_document(node) for node in nodes], "problems": [asdict(problem) for problem in problems]}


def problem_rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [asdict(problem) for problem in problems]


def node_rows(nodes: Iterable[Node], problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """One row per node, in human-readable units."""
    return [_row(node, sum(problem.node == node.name for problem in problems)) for node in nodes]


def _node_document(node: Node) -> dict[str, Any]:
    known = {"node": node.name, "ray_gpus": node.ray_gpus, "answered": not node.error}
    if node.error:
        return known
    return {**known, **node.facts, "clock": node.skew, "clock_doubt": node.skew_error, "bytes_per_second": node.speed}


def _row(node: Node, problems: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"node": node.name, "problems": problems}
    if node.error:
        return row
    facts = node.facts
    gpus = [f"{gpu['name']} {(gpu['memory'] or 0) / 2**30:.0f} GiB" for gpu in facts["gpus"]]
    return row | {
        "host": facts["host"],
        "gpus": ", ".join(f"{gpus.count(gpu)} x {gpu}" for gpu in dict.fromkeys(gpus)) or "none",
        "driver": facts["driver"],
        "cores": facts["cpus"],
        "memory_gb": round(facts["memory"] / 1e9),
        "python": facts["versions"]["python"],
        "torch": facts["versions"]["torch"],
        "ray": facts["versions"]["ray"],
        "temp_gb": round(facts["free_temp"] / 1e9),
        "cache_gb": round(facts["free_cache"] / 1e9),
        "runs": "seen" if not facts["storage"] and node.wrote_back else "not seen",
        "data": None if facts["data"] is None else str(facts["data"])[:12],
        "clock_s": f"{node.skew:+.3f}",
        "mb_per_s": None if node.speed is None else round(node.speed / 1e6),
    }
