"""Weights of SAM by name: a folder, a safetensors file, or a model of the hub."""

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import constants, hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trainable.errors import UserError, first_line
from trainable.networks.hub import cache_alone_if_silent

FILE = "model.safetensors"
SHARED, TIED = "shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding"
SHOWN = 3  # names of tensors in a message


def load_sam(model: nn.Module, name: str, size: str) -> None:
    """Load weights into a SAM of a size; anything that does not match is an error."""
    weights = _read(name)
    if SHARED in weights or TIED in weights:  # one parameter with two names, which files hold once or twice
        weights.setdefault(SHARED, weights.get(TIED, weights.get(SHARED)))  # type: ignore[arg-type]
        weights.setdefault(TIED, weights[SHARED])
    if differences := _differences(weights, model.state_dict()):
        raise UserError(f"sam_weights = {name!r}: are not those of a SAM with sam_size = {size}: {differences}")
    model.load_state_dict(weights)


def _read(name: str) -> dict[str, Tensor]:
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            path = path / FILE
        elif not path.exists():
            path = _downloaded(name)
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"sam_weights = {name!r}: there is no {FILE} in this folder") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"sam_weights = {name!r}: is not a readable safetensors file ({first_line(error)})") from None


def _downloaded(name: str) -> Path:
    try:
        with cache_alone_if_silent():
            return Path(hf_hub_download(name, FILE))
    except Exception as error:  # noqa: BLE001  the types of errors differ between versions of the client
        raise UserError(
            f"sam_weights = {name!r}: is neither a folder nor a file here, and no model that the hub or its cache "
            f"{constants.HF_HUB_CACHE} has ({type(error).__name__})"
        ) from None


def _differences(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    both = [name for name in expected if name in found]
    shapes = [name for name in both if found[name].shape != expected[name].shape]
    kinds = {
        "missing": [name for name in expected if name not in found],
        "unknown": [name for name in found if name not in expected],
        "of another shape": [f"{n} {list(found[n].shape)}, not {list(expected[n].shape)}" for n in shapes],
    }
    parts = []
    for kind, names in kinds.items():
        if names:
            more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            parts.append(f"{kind}: {', '.join(names[:SHOWN])}{more}")
    return "; ".join(parts)
