"""Checkpoints: one file contains everything needed to resume, and to rebuild its network.

``last.pt`` is the newest state, ``previous.pt`` the one before it, ``best.pt`` the best weights alone. Files are read
with ``weights_only=True``, so a checkpoint cannot run code, and their checksums are verified first.
"""

import logging
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainable.config import Config, make_config
from trainable.data.task import TWO_CLASSES
from trainable.errors import StorageFull, UserError
from trainable.networks.registry import build_network
from trainable.networks.scribble_network import ScribbleNetwork
from trainable.storage.atomic_files import sync_folder, write_atomically

VERSION = 1
LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"

State = dict[str, Any]
log = logging.getLogger(__name__)


class Damaged(Exception):
    """A file that exists but is damaged."""


def save(state: State, path: Path) -> None:
    """Write a checkpoint atomically."""
    try:
        write_atomically(path, lambda file: torch.save({"version": VERSION, **state}, file))
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise StorageFull(
            f"{path}: cannot be written ({os.strerror(cause.errno or 0)}); earlier checkpoints are untouched"
        ) from None


def save_last(state: State, folder: Path) -> None:
    """Write ``last.pt`` and keep the previous one as ``previous.pt``; there is a complete checkpoint at any time."""
    fresh = folder / "next.pt"
    save(state, fresh)
    if (folder / LAST).exists():
        (folder / LAST).replace(folder / PREVIOUS)
    fresh.replace(folder / LAST)
    sync_folder(folder)


def load_last(folder: Path) -> State | None:
    """The newest complete checkpoint of a fold, or None; damaged ones are skipped with a warning."""
    for name in ("next.pt", LAST, PREVIOUS):
        if not (folder / name).exists():
            continue
        try:
            return load(folder / name)
        except Damaged as error:
            log.warning("%s; falling back to the previous checkpoint", error)
    return None


def load(path: Path, device: str = "cpu") -> State:
    """Read and verify a checkpoint; raises ``Damaged`` or, if it does not exist, ``UserError``."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken:
            raise Damaged(f"{path}: is damaged (wrong checksum of {broken})")
        state: State = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except Damaged:
        raise
    except Exception as error:  # noqa: BLE001  zipfile and torch raise many types for damaged files
        raise Damaged(f"{path}: is damaged or not a checkpoint ({type(error).__name__})") from None
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise UserError(f"{path}: was written by another version of this program")
    return state


def config_of(state: State) -> Config:
    return make_config(state["config"])


def load_network(path: Path, device: str = "cpu") -> tuple[ScribbleNetwork, Config, State]:
    """The network of a checkpoint, ready to predict, with its config and the rest of the state."""
    try:
        state = load(path, device)
    except Damaged as error:
        raise UserError(str(error)) from None
    config = config_of(state)
    weights = state["weights"]
    network = empty_network(config, weights["mean"].numel(), classes_of(state))
    network.load_state_dict(weights)
    return network.to(device).eval(), config, state


def classes_of(state: State) -> tuple[str, ...]:
    """The classes that a state's network tells apart; states of two usual classes do not list them."""
    return tuple(state.get("classes", TWO_CLASSES.classes))


def empty_network(config: Config, channels: int = 3, classes: Sequence[str] = TWO_CLASSES.classes) -> ScribbleNetwork:
    """A network to load weights into, for images of that many channels; nothing is downloaded for it."""
    bare = config.without_weights()
    return build_network(bare, [0.0] * channels, [1.0] * channels, classes=len(classes))


def cpu_copy(network: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the weights, unaffected by further training."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}
