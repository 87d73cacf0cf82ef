"""What a stage leaves: a folder named by the hash of everything that its encoder's weights depend on."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from trainable.config import Config, made_of
from trainable.errors import FoldFailed
from trainable.pretraining.unlabelled import Unlabelled
from trainable.storage.atomic_files import write_atomically, write_json
from trainable.storage.shared_file import SharedFile

VERSION = 2
FOLDER = "pretraining"  # of a run, with a folder per product
ENCODER, INPUTS, FAILURE, CHECKPOINT = "encoder.safetensors", "inputs.json", "failure.json", "last.pt"

log = logging.getLogger(__name__)


def inputs_of(config: Config, images: Unlabelled, fold: int, file: SharedFile | None = None) -> dict[str, Any]:
    """Everything that the weights depend on, such as the content of the ``file`` that the stage starts from."""
    width, height = images.size
    values = made_of(config.model_dump(mode="json")) or {}
    inputs = {"version": VERSION, "config": values | {"size": [width, height]}, "fold": fold, "images": images.facts()}
    return inputs if file is None else inputs | {"encoder_weights": file.hash}


def name_of(inputs: dict[str, Any]) -> str:
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_encoder(folder: Path, weights: dict[str, Tensor]) -> None:
    content = save({name: tensor.contiguous() for name, tensor in sorted(weights.items())})
    write_atomically(folder / ENCODER, lambda file: file.write(content))


def read_encoder(folder: Path) -> dict[str, Tensor] | None:
    """The weights, or None if there are none; a damaged file is made again."""
    path = folder / ENCODER
    try:
        weights: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:
        return None
    except SafetensorError as error:
        log.warning("%s: is damaged (%s); it is made again", path, error)
        path.unlink(missing_ok=True)
        return None
    return weights


def write_failure(folder: Path, failure: FoldFailed) -> None:
    """Remember a failure that would happen again, so that no other config repeats the stage."""
    write_json(folder / FAILURE, {"reason": failure.reason, "message": failure.message})


def raise_failure(folder: Path) -> None:
    """Raise the failure that an earlier attempt left, if there is one."""
    path = folder / FAILURE
    if path.exists():
        value = json.loads(path.read_text())
        raise FoldFailed(value["reason"], value["message"], 0)
