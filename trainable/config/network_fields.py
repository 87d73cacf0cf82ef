"""Hyperparameters of the network: its kind, and those that only some kinds have."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from trainable.config.conditions import only_with
from trainable.config.plugins.plugin import PLUGINS
from trainable.config.values import RATES, Rates, Source

WEIGHTS = ("encoder_weights", "sam_weights")  # where pretrained weights come from, if they are not None
# Networks with an encoder by name.
ENCODED = ("unet", "unetplusplus", "deeplabv3plus", "segformer", "upernet", "mask-rcnn")
PLAIN = ("unet-plain", "resunet", "attention-resunet", "exmod-unet")  # networks of a width and a depth
POOLED = ("deeplabv3plus", "upernet")  # networks that normalise an average of the whole image
WITH_ENCODER = only_with(architecture=ENCODED)
WITH_DEPTH = only_with(architecture=PLAIN)
WITH_SAM = only_with(architecture=("sam",))

Network = tuple[tuple[str, Any], ...]  # hyperparameters and their values


def network_name(network: Network) -> str:
    """A network in few words: "resnet18 unet" of those with an encoder, "unet-plain, width 64, depth 4" of others."""
    values = {name: value for name, value in network if name != PLUGINS}
    if "encoder" in values:
        return f"{values['encoder']} {values['architecture']}"
    return ", ".join([values.pop("architecture"), *(f"{name} {value}" for name, value in values.items())])


class NetworkFields(BaseModel):
    architecture: Literal[
        "unet",
        "unetplusplus",
        "deeplabv3plus",
        "segformer",
        "upernet",
        "unet-plain",
        "resunet",
        "attention-resunet",
        "exmod-unet",
        "mask-rcnn",
        "sam",
    ] = Field("unet", description="network")
    encoder: str = Field(
        "efficientnet-b2",
        description="any encoder of smp, or any timm model with feature maps",
        json_schema_extra=WITH_ENCODER,
    )
    encoder_weights: Source | None = Field(
        None, description="what the encoder starts from; none trains from scratch, a file fits every network"
    )
    attention: Literal["scse"] | None = Field(
        "scse",
        description="attention in the decoder",
        json_schema_extra=only_with(architecture=("unet", "unetplusplus")),
    )
    atrous_rates: Rates = Field(
        (12, 24, 36),
        description="dilations of the three parallel convolutions",
        json_schema_extra=only_with(architecture=("deeplabv3plus",)) | RATES,
    )
    width: int = Field(
        64,
        ge=4,
        le=1024,
        description="channels at full resolution; doubled by each pooling",
        json_schema_extra=WITH_DEPTH,
    )
    depth: int = Field(
        4, ge=1, le=8, description="number of poolings, each of which halves the image", json_schema_extra=WITH_DEPTH
    )
    pyramid_width: int = Field(
        256,
        ge=4,
        le=1024,
        description="channels of the feature pyramid and of the layers that find boxes and masks",
        json_schema_extra=only_with(architecture=("mask-rcnn",)),
    )
    sam_size: Literal["tiny", "base", "large", "huge"] = Field(
        "base", description="size of SAM; tiny is for trying it out", json_schema_extra=WITH_SAM
    )
    sam_weights: str | None = Field(
        None,
        description="weights: a folder or safetensors file, or a model of the hub such as facebook/sam-vit-base",
        json_schema_extra=WITH_SAM,
    )
    sam_trains: Literal["decoder", "all", "none"] = Field(
        "decoder",
        description="what is trained: the mask decoder, everything, or only a threshold per class",
        json_schema_extra=WITH_SAM,
    )
    sam_points: int = Field(
        8, ge=1, le=256, description="prompt points per class, taken from its scribbles", json_schema_extra=WITH_SAM
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="share of channels dropped before the last layer")
