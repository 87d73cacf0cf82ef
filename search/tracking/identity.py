"""``tracking.json`` in the run folder: the run's id for trackers, and the last step and state of each closed trial."""

import secrets
from pathlib import Path
from typing import Any

from trainable.storage.checked_json import read_checked, write_checked

TRACKING = "tracking.json"
ClosedTrials = dict[str, list[Any]]  # the last step and the state that were logged, by fold trial


def identity(folder: Path) -> str:
    """Drawn once per run folder: two runs with the same name stay apart on a server, a resumed run stays one."""
    return str(_read(folder)["id"])


def read_closed(folder: Path, location: str) -> ClosedTrials:
    closed: ClosedTrials = _read(folder)["settled"].get(location, {})
    return closed


def write_closed(folder: Path, location: str, closed: ClosedTrials) -> None:
    document = _read(folder)
    document["settled"][location] = closed
    write_checked(folder / TRACKING, document)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / TRACKING
    if not path.exists():
        write_checked(path, {"id": secrets.token_hex(4), "settled": {}})
    return read_checked(path, "remove it to log the run as a new one")
