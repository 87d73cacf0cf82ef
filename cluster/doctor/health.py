"""The rules that find problems in the facts of the nodes; no Ray."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.doctor.node_facts import MARKER_MISSING
from trainable.printing import plural

MIN_FREE = 2 * 10**9  # bytes: the decoded data, what Ray spills, and the logs of a long run
MAX_SKEW = 2.0  # seconds
MIN_SPEED = 10e6  # bytes per second: decoded data of 200 MB take 20 seconds
HASH = 64  # digits of a data set's hash; anything else is an error message


@dataclass(frozen=True)
class Reference:
    """What this machine has and the nodes should match; ``data`` is the hash of the data set."""

    versions: Mapping[str, str | None]
    code: Mapping[str, str]
    data: str | None = None


@dataclass(frozen=True)
class Node:
    """A node: its resources in Ray, the facts it reported, and measurements from this machine.

    ``error`` says why there are no facts. ``skew`` is how many seconds its clock is ahead, give or take
    ``skew_error``. ``speed`` is in bytes per second, None for this machine's own node.
    """

    name: str
    ray_gpus: float = 0.0
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    wrote_back: bool = True  # its reply was found in the storage
    skew: float = 0.0
    skew_error: float = 0.0
    speed: float | None = None


@dataclass(frozen=True)
class Problem:
    node: str
    problem: str
    hint: str


Found = Iterator[tuple[str, str]]  # the problem, the hint


def problems_of(nodes: Iterable[Node], here: Reference) -> list[Problem]:
    """All problems, node by node."""
    return [Problem(node.name, *found) for node in nodes for found in _problems(node, here)]


def ordered(nodes: Sequence[Node], problems: Iterable[Problem]) -> list[Node]:
    """Nodes with problems first."""
    unhealthy = {problem.node for problem in problems}
    return sorted(nodes, key=lambda node: node.name not in unhealthy)


def _problems(node: Node, here: Reference) -> Found:
    if node.error:
        yield node.error, "run ray status, read the raylet's log on that node, or restart its Ray"
        return
    for rule in RULES:
        yield from rule(node, here)


def _python(node: Node, here: Reference) -> Found:
    theirs, ours = node.facts["versions"]["python"], here.versions["python"] or ""
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        yield (
            f"Python {theirs}, here {ours}",
            "start its Ray with the same Python version, or workers cannot unpickle the code",
        )


def _packages(node: Node, here: Reference) -> Found:
    for name, ours in here.versions.items():
        theirs = node.facts["versions"].get(name)
        if name == "python" or _release(theirs) == _release(ours):
            continue
        found = "is not installed" if theirs is None else f"is {theirs}"
        wanted = name if ours is None else f"{name}=={_release(ours)}"
        yield f"{name} {found}, here {ours}", f"pip install '{wanted}' in its environment"


def _code(node: Node, here: Reference) -> Found:
    differ = [room for room, ours in here.code.items() if node.facts["code"].get(room) != ours]
    if differ:
        yield (
            f"its copy of this project differs ({', '.join(differ)})",
            "remove it from that node's PYTHONPATH and site-packages, or check out the same commit there",
        )


def _gpus(node: Node, here: Reference) -> Found:
    present, usable = len(node.facts["gpus"]), node.facts["usable_gpus"]
    if node.ray_gpus > present:
        yield (
            f"Ray schedules {plural(int(node.ray_gpus), 'GPU')}, nvidia-smi finds {present}",
            "install the driver (in a container: the NVIDIA runtime), or start its Ray with the right --num-gpus",
        )
    if usable < present:
        yield (
            f"torch can use {usable} of {plural(present, 'GPU')}",
            f"driver {node.facts['driver']} may be too old for its torch, or the GPUs are in use; see nvidia-smi there",
        )


def _disk(node: Node, here: Reference) -> Found:
    for folder, setting in (("temp", "ray start --temp-dir"), ("cache", "SCRIBBLE_SEARCH_CACHE")):
        free = node.facts[f"free_{folder}"]
        if free < MIN_FREE:
            yield (
                f"{free / 1e9:.1f} GB free for the {folder} folder",
                f"make at least {MIN_FREE / 1e9:g} GB available, or move the folder with {setting}",
            )


def _storage(node: Node, here: Reference) -> Found:
    hint = "use a folder that all nodes share, or s3://..., as --runs here and for the launch"
    error = node.facts["storage"]
    if error == MARKER_MISSING:
        yield f"the folder of runs is not shared: the node {MARKER_MISSING}", hint
    elif error:
        yield f"the folder of runs cannot be used: {error}", hint
    elif not node.wrote_back:
        yield "the folder of runs is not shared: this machine cannot read what the node wrote there", hint


def _data(node: Node, here: Reference) -> Found:
    theirs = node.facts["data"]
    if theirs in (None, here.data):
        return  # a launch sends the data to nodes that lack it
    hint = "copy the same files there, or remove the folder so that a launch sends them"
    if len(theirs) == HASH and theirs.isalnum():
        yield f"different data under the same path (hash {theirs[:12]}, here {str(here.data)[:12]})", hint
    else:
        yield f"its data cannot be read: {theirs}", hint


def _clock(node: Node, here: Reference) -> Found:
    if abs(node.skew) - node.skew_error > MAX_SKEW:
        direction = "ahead" if node.skew > 0 else "behind"
        yield f"its clock is {abs(node.skew):.1f} s {direction}", "start chrony or another NTP client there"


def _speed(node: Node, here: Reference) -> Found:
    if node.speed is not None and node.speed < MIN_SPEED:
        hint = "check the network between the nodes, which carries data and checkpoints"
        yield f"receives {node.speed / 1e6:.1f} MB/s from the object store", hint


def _release(version: str | None) -> str | None:
    """The version without a local part such as +cu128."""
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
