"""The code that a process runs: interpreter, the packages that scores depend on, and a hash of each room."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

ROOMS = ("spaces", "trainable", "search", "cluster", "analysis")
PACKAGES = ("torch", "segmentation-models-pytorch", "timm", "albumentations", "ray", "numpy")


def versions() -> dict[str, str | None]:
    """The versions of Python and of each package; None for a package that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def code_hashes() -> dict[str, str]:
    """A hash of each room's sources, so that a message can name the rooms that changed."""
    hashes = {}
    for room in ROOMS:
        if (home := _home(room)) is not None:
            files = sorted(home.rglob("*.py"))
            content = b"".join(f"{file.relative_to(home.parent)}\0".encode() + file.read_bytes() for file in files)
            hashes[room] = hashlib.sha256(content).hexdigest()[:16]
    return hashes


def _home(room: str) -> Path | None:
    """Where a room would be imported from; on a Ray node each room may be in a different folder."""
    spec = find_spec(room)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
