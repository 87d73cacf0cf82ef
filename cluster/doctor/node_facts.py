"""The facts that the doctor collects on each node; imports only what each check needs.

A check that fails does not affect the others: its error message takes the place of its result.
"""

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

TORCH_SECONDS = 120.0  # to import torch and initialize each GPU
USE_EACH_GPU = "import torch; print(sum(int(torch.ones(1, device=i).item()) for i in range(torch.cuda.device_count())))"
MARKER_MISSING = "cannot read what this machine wrote there"


class Storage(Protocol):
    """What the doctor needs of a storage for runs; ``read`` returns None for a missing file."""

    def write(self, name: str, content: bytes) -> None: ...
    def read(self, name: str) -> bytes | None: ...
    def delete(self, name: str) -> None: ...


@dataclass(frozen=True)
class Folder:
    """A folder as a storage, shared by all machines under the same path."""

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
    """The object store of a URL, or the folder of a path."""
    if "://" not in root:
        return Folder(Path(root))
    from trainable.storage.object_store import Store

    store: Storage = Store(root)
    return store


@dataclass(frozen=True)
class ProbeRequest:
    """What a node checks: the storage with its marker file, and the data; None skips a check."""

    runs: str | None
    name: str
    content: bytes
    data: str | None

    def reply_name(self, node: str) -> str:
        """The file in which a node writes the marker's content back."""
        return f"{self.name}-{node}"


def new_request(runs: str, data: str | None) -> ProbeRequest:
    return ProbeRequest(runs, f".doctor-{secrets.token_hex(8)}", secrets.token_hex(16).encode(), data)


class Probe:
    """Collects the facts of a node; runs there as an actor."""

    open_storage = staticmethod(open_storage)

    def facts(self, node: str, request: ProbeRequest) -> dict[str, Any]:
        gpus, driver = _gpus()
        return {
            "host": socket.gethostname(),
            "cpus": cores(),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "gpus": gpus,
            "driver": driver,
            "usable_gpus": _usable() if gpus else 0,
            "versions": versions(),
            "code": code_hashes(),
            "free_temp": _free(Path(tempfile.gettempdir())),
            "free_cache": _free(cache_folder()),
            "storage": "" if request.runs is None else check_storage(self.open_storage, node, request),
            "data": None if request.data is None else _hash_of(request.data),
        }

    def now(self) -> float:
        return time.time()


def check_storage(opened: Callable[[str], Storage], node: str, request: ProbeRequest) -> str:
    """The problem with the storage as seen from this node, or an empty string."""

    def check() -> str:
        storage = opened(str(request.runs))
        if storage.read(request.name) != request.content:
            return MARKER_MISSING
        storage.write(request.reply_name(node), request.content)
        return ""

    return _result_or_error(check)


def data_hash(folder: str) -> str:
    from trainable.data.dataset import open_split  # late: imports numpy and pillow, which a node may lack

    return open_split(Path(folder)).hash


def _hash_of(folder: str) -> str | None:
    """None if there is no such folder; an error message if it cannot be read."""
    return _result_or_error(lambda: data_hash(folder)) if Path(folder).is_dir() else None


def _result_or_error(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  the doctor reports any error
        return f"{type(error).__name__}: {error}"


def _gpus() -> tuple[list[dict[str, Any]], str | None]:
    """All GPUs, including those that Ray hides from this process, and the driver version."""
    output = _output(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"])
    rows = [[part.strip() for part in line.rsplit(",", 2)] for line in output.splitlines() if line.count(",") >= 2]
    gpus = [{"name": name, "memory": int(size) * 2**20 if size.isdigit() else None} for name, size, _ in rows]
    return gpus, rows[0][2] if rows else None


def _usable() -> int:
    """How many GPUs torch can use, in a process that sees all of them."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    count = _output([sys.executable, "-c", USE_EACH_GPU], TORCH_SECONDS, environment).strip()
    return int(count) if count.isdigit() else 0


def _output(command: list[str], seconds: float = ASK_SECONDS, environment: dict[str, str] | None = None) -> str:
    """What a program prints; an empty string if it is missing, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout


def _free(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free
