"""``tracking.json`` in the run's folder: the id by which trackers know it, and what each was told to the end."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from trainable.storage.atomic_files import write_json

TRACKING = "tracking.json"
Settled = dict[str, list[Any]]  # a fold trial: the last step and the state that a place was told


def identity(folder: Path) -> str:
    """Drawn once: two runs of one name on one server are two, and a run launched again is one."""
    return str(_read(folder)["id"])


def settled(folder: Path, place: str) -> Settled:
    told: Settled = _read(folder)["settled"].get(place, {})
    return told


def settle(folder: Path, place: str, told: Settled) -> None:
    document = _read(folder)
    document["settled"][place] = told
    write_json(folder / TRACKING, document)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / TRACKING
    if not path.exists():
        write_json(path, {"id": secrets.token_hex(4), "settled": {}})
    document: dict[str, Any] = json.loads(path.read_text())
    return document
