"""What a node says of itself when the doctor asks; it runs there, and loads no more than each question needs.

A question that fails there costs its own answer alone: the words of the error take its place.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trainable.machine.hardware import ASK_SECONDS, cores
from trainable.machine.versions import code_hashes, versions
from trainable.storage.atomic_files import cache_folder, write_atomically

TORCH_SECONDS = 120.0  # for torch to be loaded and each GPU to be woken
USE_EACH_GPU = "import torch; print(sum(int(torch.ones(1, device=i).item()) for i in range(torch.cuda.device_count())))"
OTHER_FOLDER = "does not see there what this machine wrote"


class Storage(Protocol):
    """The least that a place for runs must do; None is read where there is nothing."""

    def write(self, name: str, content: bytes) -> None: ...
    def read(self, name: str) -> bytes | None: ...
    def delete(self, name: str) -> None: ...


@dataclass(frozen=True)
class Folder:
    """A folder as a storage: all machines must mean the same one by its path."""

    path: Path

    def write(self, name: str, content: bytes) -> None:
        write_atomically(self.path / name, lambda file: file.write(content))

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)


def open_storage(root: str) -> Storage:
    """By its address; a path is a folder."""
    if "://" not in root:
        return Folder(Path(root))
    from trainable.storage.object_store import Store

    store: Storage = Store(root)
    return store


@dataclass(frozen=True)
class Ask:
    """What a node is to look at: the storage with the word that lies in it, and the data; None is not asked about."""

    runs: str | None
    name: str
    word: bytes
    data: str | None

    def answer(self, node: str) -> str:
        """Where a node leaves its own copy of the word."""
        return f"{self.name}-{node}"


def new_ask(runs: str, data: str | None) -> Ask:
    return Ask(runs, f".doctor-{secrets.token_hex(8)}", secrets.token_hex(16).encode(), data)


class Probe:
    """The doctor's man on a node."""

    open_storage = staticmethod(open_storage)

    def facts(self, node: str, ask: Ask) -> dict[str, Any]:
        cards, driver = _cards()
        return {
            "host": socket.gethostname(),
            "cpus": cores(),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "gpus": cards,
            "driver": driver,
            "usable_gpus": _usable() if cards else 0,
            "versions": versions(),
            "code": code_hashes(),
            "free_temp": _free(Path(tempfile.gettempdir())),
            "free_cache": _free(cache_folder()),
            "storage": "" if ask.runs is None else use_storage(self.open_storage, node, ask),
            "data": None if ask.data is None else _hash_of(ask.data),
        }

    def now(self) -> float:
        return time.time()


def use_storage(opened: Callable[[str], Storage], node: str, ask: Ask) -> str:
    """What is wrong with the storage as this node sees it, in words, or nothing."""

    def work() -> str:
        storage = opened(str(ask.runs))
        if storage.read(ask.name) != ask.word:
            return OTHER_FOLDER
        storage.write(ask.answer(node), ask.word)
        return ""

    return _told(work)


def data_hash(folder: str) -> str:
    from trainable.data.dataset import open_split  # late: it loads numpy and pillow, which a node may lack

    return open_split(Path(folder)).hash


def _hash_of(folder: str) -> str | None:
    """None where there is no such folder; words where it cannot be read."""
    return _told(lambda: data_hash(folder)) if Path(folder).is_dir() else None


def _told(work: Callable[[], str]) -> str:
    try:
        return work()
    except Exception as error:  # noqa: BLE001  whatever is wrong there is what the doctor is here to tell
        return f"{type(error).__name__}: {error}"


def _cards() -> tuple[list[dict[str, Any]], str | None]:
    """All GPUs that there are, also those that Ray keeps from this process, and the version of their driver."""
    said = _output(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"])
    rows = [[part.strip() for part in line.rsplit(",", 2)] for line in said.splitlines() if line.count(",") >= 2]
    cards = [{"name": name, "memory": int(size) * 2**20 if size.isdigit() else None} for name, size, _ in rows]
    return cards, rows[0][2] if rows else None


def _usable() -> int:
    """How many of them torch can reach, in a process that sees them all."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    said = _output([sys.executable, "-c", USE_EACH_GPU], TORCH_SECONDS, environment).strip()
    return int(said) if said.isdigit() else 0


def _output(command: list[str], seconds: float = ASK_SECONDS, environment: dict[str, str] | None = None) -> str:
    """What a program prints; nothing where it is not there, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout


def _free(folder: Path) -> int:
    """Of the disk on which a folder is, or would be made."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free
