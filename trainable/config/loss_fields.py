"""Hyperparameters of what is learnt from, and of the loss on it."""

from typing import Literal, get_args

from pydantic import BaseModel, Field

from trainable.config.conditions import only_with
from trainable.config.values import Region, Weights

WITH_MASKS = only_with(supervision=("masks",))
WITH_SCRIBBLES = only_with(supervision=("scribbles",))
WITH_REGION = only_with(supervision=("masks",), loss=get_args(Region))
WITH_TVERSKY = only_with(loss=("tversky",))


class LossFields(BaseModel):
    supervision: Literal["masks", "scribbles"] = Field(
        "masks", description="labels to learn from; with scribbles, masks of training images are never read"
    )
    loss: Literal[Region, "dice+bce", "ce"] = Field(
        "iou",
        description="region term of the loss; dice+bce weights both by alpha, ce is cross-entropy alone",
        json_schema_extra=WITH_MASKS,
    )
    lambda_region: float = Field(1.0, ge=0, description="weight of the region term", json_schema_extra=WITH_REGION)
    lambda_bce: float = Field(0.2, ge=0, description="weight of cross-entropy", json_schema_extra=WITH_REGION)
    alpha: float = Field(
        0.5,
        ge=0,
        le=1,
        description="weight of cross-entropy; Dice has 1 - alpha",
        json_schema_extra=only_with(loss=("dice+bce",)),
    )
    tversky_alpha: float = Field(0.3, ge=0, description="weight of false positives", json_schema_extra=WITH_TVERSKY)
    tversky_beta: float = Field(0.7, ge=0, description="weight of false negatives", json_schema_extra=WITH_TVERSKY)
    lambda_focal: float = Field(0.0, ge=0, description="weight of the focal loss", json_schema_extra=WITH_MASKS)
    focal_gamma: float = Field(
        2.0, ge=0, description="focal loss: the higher, the less easy pixels weigh", json_schema_extra=WITH_MASKS
    )
    focal_alpha: float = Field(
        0.25,
        ge=0,
        le=1,
        description="focal loss: weight of every class but the first, which has 1 - focal_alpha",
        json_schema_extra=WITH_MASKS,
    )
    objective: Literal["pce", "wpce"] = Field(
        "pce",
        description="cross-entropy on scribbled pixels; wpce weights classes by inverse frequency",
        json_schema_extra=WITH_SCRIBBLES,
    )
    border: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="share of each side, from the border, whose pixels without a scribble count as the first class",
        json_schema_extra=only_with(supervision=("scribbles",), inputs=("image",)),
    )
    lambda_crf: float = Field(0.0, ge=0, description="weight of the gated CRF", json_schema_extra=WITH_SCRIBBLES)
    crf_radius: int = Field(
        5, ge=1, le=32, description="radius of the CRF's window, in pixels", json_schema_extra=WITH_SCRIBBLES
    )
    crf_sigma_xy: float = Field(
        6.0, gt=0, description="bandwidth of the CRF's kernel in place, in pixels", json_schema_extra=WITH_SCRIBBLES
    )
    crf_sigma_intensity: float = Field(
        0.1,
        gt=0,
        description="bandwidth of the CRF's kernel in intensity, which is in 0..1",
        json_schema_extra=WITH_SCRIBBLES,
    )
    lambda_entropy: float = Field(
        0.0, ge=0, description="weight of the entropy of pixels without a scribble", json_schema_extra=WITH_SCRIBBLES
    )
    lambda_tv: float = Field(0.0, ge=0, description="weight of total variation", json_schema_extra=WITH_SCRIBBLES)
    lambda_ms: float = Field(
        0.0, ge=0, description="weight of the variance of intensity within classes", json_schema_extra=WITH_SCRIBBLES
    )
    pc: float = Field(
        3.0,
        gt=0,
        description="cross-entropy: weight of every class but the first",
        json_schema_extra=only_with(loss=get_args(Region), objective=("pce",)),
    )
    class_weights: Weights | None = Field(
        None,
        description="cross-entropy: a weight per class, instead of pc",
        json_schema_extra=only_with(objective=("pce",)),
    )
