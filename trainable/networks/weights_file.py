"""Weights of an encoder from a file, and loading them into an encoder, which they must fit exactly."""

import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trainable.config import Config
from trainable.errors import UserError
from trainable.storage.shared_file import SharedFile, open_shared

PREFIXES = ("core.encoder.", "encoder.")  # of a whole network of this project, and of one of smp
LISTED = 3  # tensors of each kind of mismatch


def file_of(config: Config, file: SharedFile | None = None, needed: bool = False) -> SharedFile | None:
    """The file of weights that a config names, or None; ``file`` is the same one where it has been opened already.

    ``needed``: a config without weights is not possible, so errors do not propose it.
    """
    if config.weights_file is None:
        return None
    try:
        return file or open_shared(config.weights_file)
    except UserError as error:
        allowed = f"{'' if needed else 'none, '}imagenet, a file or s3://BUCKET/NAME"
        raise UserError(f"encoder_weights: {error}; allowed are {allowed}") from None


def read_weights(file: SharedFile) -> dict[str, Tensor]:
    """The tensors by name. No code in the file is run."""
    path = file.place()
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickles of other versions, which are refused
            weights = load_file(path) if _is_safetensors(path) else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, ValueError, LookupError, EOFError) as error:
        problem = f"is damaged or no file of weights ({type(error).__name__})"
        if isinstance(error, pickle.UnpicklingError) and _is_pickle(path):
            problem = "contains pickled objects besides tensors, which could run code; save its state dict alone"
        raise UserError(f"{source_of(file)}: {problem}") from None
    if not isinstance(weights, dict) or not weights or not all(isinstance(each, Tensor) for each in weights.values()):
        raise UserError(f"{source_of(file)}: is not a state dict, which holds tensors by name and nothing else")
    return weights


def source_of(file: SharedFile) -> str:
    """How messages refer to the file."""
    return f"encoder_weights: {file.name}"


def load_encoder(encoder: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Replace all tensors of an encoder; weights that do not fit are refused by a message that names ``source``.

    Weights of a whole network may be given, of which those of the encoder are taken. Convolutions of the input may have
    fewer channels than the encoder needs, as those for RGB without scribbles: the weights of further channels are 0.
    """
    own = encoder.state_dict()
    found = _of_encoder(weights, own)
    for name in _first_convolutions(encoder):
        if name in found and _lacks_channels(found[name], own[name]):
            found[name] = _widened(found[name], own[name].shape[1])
    if problems := list(_mismatches(found, own)):
        raise UserError(f"{source}: weights of another encoder: {'; '.join(problems)}")
    encoder.load_state_dict(found)


def _of_encoder(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        below = {name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)}
        if below and not any(name.startswith(prefix) for name in own):
            return below
    return dict(weights)


def _first_convolutions(encoder: nn.Module) -> Iterator[str]:
    """The weights of all convolutions of the input; a residual block has two."""
    channels = None
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            channels = channels or module.in_channels
            if module.in_channels == channels:
                yield f"{name}.weight"


def _lacks_channels(found: Tensor, own: Tensor) -> bool:
    same = found.ndim == own.ndim and found.shape[0] == own.shape[0] and found.shape[2:] == own.shape[2:]
    return same and found.shape[1] < own.shape[1]


def _widened(weight: Tensor, channels: int) -> Tensor:
    zeros = weight.new_zeros(weight.shape[0], channels - weight.shape[1], *weight.shape[2:])
    return torch.cat([weight, zeros], dim=1)


def _mismatches(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[str]:
    shapes = [name for name in own if name in found and found[name].shape != own[name].shape]
    kinds = {
        "missing": (name for name in own if name not in found),
        "left over": (name for name in found if name not in own),
        "of another shape": (f"{name} ({_size(found[name])}, not {_size(own[name])})" for name in shapes),
    }
    for kind, names in kinds.items():
        if text := _first(names):
            yield f"{kind}: {text}"


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return ", ".join(listed[:LISTED]) + more


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _is_safetensors(path: Path) -> bool:
    """Such a file starts with the length of a header that is JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _is_pickle(path: Path) -> bool:
    """Whether this is a pickle, alone or in torch's archive."""
    with path.open("rb") as file:
        return file.read(4).startswith((b"\x80", b"PK"))
