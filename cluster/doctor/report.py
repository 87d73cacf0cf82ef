"""What ``doctor`` prints of the nodes: for machines, and as rows."""

from __future__ import annotations

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
    return {"nodes": [_told(node) for node in nodes], "problems": [asdict(problem) for problem in problems]}


def problem_rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [asdict(problem) for problem in problems]


def node_rows(nodes: Iterable[Node], problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """A row for each node, in the units of people."""
    return [_row(node, sum(problem.node == node.name for problem in problems)) for node in nodes]


def _told(node: Node) -> dict[str, Any]:
    known = {"node": node.name, "ray_gpus": node.ray_gpus, "answered": not node.silent}
    if node.silent:
        return known
    return {**known, **node.said, "clock": node.skew, "clock_doubt": node.doubt, "bytes_per_second": node.speed}


def _row(node: Node, problems: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"node": node.name, "problems": problems}
    if node.silent:
        return row
    said = node.said
    cards = [f"{card['name']} {(card['memory'] or 0) / 2**30:.0f} GiB" for card in said["gpus"]]
    return row | {
        "host": said["host"],
        "gpus": ", ".join(f"{cards.count(card)} x {card}" for card in dict.fromkeys(cards)) or "none",
        "driver": said["driver"],
        "cores": said["cpus"],
        "memory_gb": round(said["memory"] / 1e9),
        "python": said["versions"]["python"],
        "torch": said["versions"]["torch"],
        "ray": said["versions"]["ray"],
        "temp_gb": round(said["free_temp"] / 1e9),
        "cache_gb": round(said["free_cache"] / 1e9),
        "runs": "seen" if not said["storage"] and node.answered else "not seen",
        "data": None if said["data"] is None else str(said["data"])[:12],
        "clock_s": f"{node.skew:+.3f}",
        "mb_per_s": None if node.speed is None else round(node.speed / 1e6),
    }
