"""What is wrong with the nodes of a cluster, from what they said of themselves: values and rules, no Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.doctor.node_facts import OTHER_FOLDER

LEAST_FREE = 2 * 10**9  # bytes: the decoded data, what Ray spills, and the logs of a long run
MOST_SKEW = 2.0  # seconds
LEAST_SPEED = 10e6  # bytes a second: decoded data of 200 MB would be under way for 20 seconds
HASH = 64  # digits of a data set's hash; anything else is the words of an error


@dataclass(frozen=True)
class Reference:
    """What this machine has, and with it what the nodes should have; ``data`` is its hash."""

    versions: Mapping[str, str | None]
    code: Mapping[str, str]
    data: str | None = None


@dataclass(frozen=True)
class Node:
    """A node by what Ray knows of it, what it said, and what was measured from here.

    ``silent`` says why it said nothing. ``skew`` is how far its clock is ahead, of which ``doubt`` seconds may be the
    way there and back. ``speed`` is in bytes a second, None for the node that this machine is itself.
    """

    name: str
    ray_gpus: float = 0.0
    silent: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)
    answered: bool = True  # its own copy of the word was found in the storage
    skew: float = 0.0
    doubt: float = 0.0
    speed: float | None = None


@dataclass(frozen=True)
class Problem:
    node: str
    problem: str
    hint: str


Found = Iterator[tuple[str, str]]  # the problem, the hint


def problems_of(nodes: Iterable[Node], here: Reference) -> list[Problem]:
    """Everything that is wrong, node by node."""
    return [Problem(node.name, *found) for node in nodes for found in _problems(node, here)]


def ordered(nodes: Sequence[Node], problems: Iterable[Problem]) -> list[Node]:
    """Those with problems first."""
    ill = {problem.node for problem in problems}
    return sorted(nodes, key=lambda node: node.name not in ill)


def _problems(node: Node, here: Reference) -> Found:
    if node.silent:
        yield node.silent, "ray status; the raylet's log on that node; ray stop and ray start there"
        return
    for rule in RULES:
        yield from rule(node, here)


def _python(node: Node, here: Reference) -> Found:
    theirs, ours = node.said["versions"]["python"], here.versions["python"] or ""
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        yield f"Python {theirs}, here {ours}", "start its Ray with the same Python: workers could not read what is sent"


def _packages(node: Node, here: Reference) -> Found:
    for name, ours in here.versions.items():
        theirs = node.said["versions"].get(name)
        if name == "python" or _release(theirs) == _release(ours):
            continue
        found = "is not installed" if theirs is None else f"is {theirs}"
        wanted = name if ours is None else f"{name}=={_release(ours)}"
        yield f"{name} {found}, here {ours}", f"pip install '{wanted}' in its environment"


def _code(node: Node, here: Reference) -> Found:
    differ = [room for room, ours in here.code.items() if node.said["code"].get(room) != ours]
    if differ:
        yield (
            f"this project is another there ({', '.join(differ)})",
            "remove it from that node's PYTHONPATH and site-packages, or bring it to the same commit",
        )


def _gpus(node: Node, here: Reference) -> Found:
    there, usable = len(node.said["gpus"]), node.said["usable_gpus"]
    if node.ray_gpus > there:
        yield (
            f"Ray deals out {node.ray_gpus:g} GPUs, nvidia-smi finds {there}",
            "install the driver (in a container: the NVIDIA runtime), or start its Ray with the right --num-gpus",
        )
    if usable < there:
        yield (
            f"torch can use {usable} of {there} GPUs",
            f"driver {node.said['driver']} may be too old for its torch, or somebody holds them; see nvidia-smi there",
        )


def _disk(node: Node, here: Reference) -> Found:
    for place, way in (("temp", "--temp-dir of ray start"), ("cache", "SCRIBBLE_SEARCH_CACHE")):
        free = node.said[f"free_{place}"]
        if free < LEAST_FREE:
            yield f"{free / 1e9:.1f} GB left for the {place} folder", f"make room for {LEAST_FREE / 1e9:g} GB, or {way}"


def _storage(node: Node, here: Reference) -> Found:
    hint = "name a folder that all nodes share, or s3://...: --runs, and so for the launch"
    told = node.said["storage"]
    if told == OTHER_FOLDER:
        yield f"the folder of runs is another one: the node {OTHER_FOLDER}", hint
    elif told:
        yield f"the folder of runs cannot be used there: {told}", hint
    elif not node.answered:
        yield "the folder of runs is another one: this machine does not see there what the node wrote", hint


def _data(node: Node, here: Reference) -> Found:
    theirs = node.said["data"]
    if theirs in (None, here.data):
        return  # what a node does not see is sent to it
    hint = "bring the same files there, or take the folder away and they are sent"
    if len(theirs) == HASH and theirs.isalnum():
        yield f"other data under the same path (hash {theirs[:12]}, here {str(here.data)[:12]})", hint
    else:
        yield f"the data there cannot be read: {theirs}", hint


def _clock(node: Node, here: Reference) -> Found:
    if abs(node.skew) - node.doubt > MOST_SKEW:
        way = "ahead" if node.skew > 0 else "behind"
        yield f"its clock is {abs(node.skew):.1f} s {way}", "start chrony or another NTP client there"


def _speed(node: Node, here: Reference) -> Found:
    if node.speed is not None and node.speed < LEAST_SPEED:
        hint = "look at the network between the nodes; data and checkpoints go this way"
        yield f"gets {node.speed / 1e6:.1f} MB a second from the object store", hint


def _release(version: str | None) -> str | None:
    """Without what a build says of its device, as in 2.15.0+cu128."""
    return version and version.partition("+")[0]


RULES: tuple[Callable[[Node, Reference], Found], ...] = (
    _python,
    _packages,
    _code,
    _gpus,
    _disk,
    _storage,
    _data,
    _clock,
    _speed,
)
