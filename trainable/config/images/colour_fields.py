"""Hyperparameters of colour distributions around the scribbles, and of the smoothest segmentation that fits them."""

from typing import Literal

from pydantic import BaseModel, Field

from trainable.config.conditions import only_with
from trainable.config.images.pretrained_fields import SOURCES

WITH_COLOURS = only_with(method=("colour_distributions",))


class ColourFields(BaseModel):
    colour_space: Literal["rgb", "lab"] = Field(
        "rgb", description="colour space in which colours are compared", json_schema_extra=WITH_COLOURS
    )
    sigma: float = Field(
        0.013,
        gt=0,
        le=10,
        description="bandwidth of colours; black to white is the square root of 3, in Lab 1",
        json_schema_extra=WITH_COLOURS,
    )
    alpha: float = Field(
        1.4,
        ge=0.5,
        le=1000,
        description="bandwidth of places, in distances to the class's nearest scribble",
        json_schema_extra=WITH_COLOURS,
    )
    uniform: bool = Field(
        False,
        description="colours are distributed alike everywhere, and alpha is not used",
        json_schema_extra=WITH_COLOURS,
    )
    features_sigma: float = Field(
        0.3,
        gt=0,
        le=100,
        description="bandwidth of features; see features_channels",
        json_schema_extra=only_with(method=("colour_distributions",), features=SOURCES),
    )
    detour: float = Field(
        1.25,
        ge=0,
        le=1000,
        description="distance that a change of colour by 1 on the way adds, in longer sides of the image; black to "
        "white is the square root of 3",
        json_schema_extra=WITH_COLOURS,
    )
    cost_limit: float | None = Field(
        11.0,
        gt=0,
        le=80,
        description="highest cost of a colour that no scribble shows; none sets no limit",
        json_schema_extra=WITH_COLOURS,
    )
    background_bias: float = Field(
        2.85,
        ge=-80,
        le=80,
        description="how much less the first class costs than the others",
        json_schema_extra=WITH_COLOURS,
    )
    smoothness: float = Field(
        0.8,
        ge=0,
        le=1000,
        description="cost of a border between classes: per pixel of its length, times the longer side of the image",
        json_schema_extra=WITH_COLOURS,
    )
    edge_gamma: float = Field(
        12.0,
        ge=0,
        le=1000,
        description="how much cheaper borders are where colours change, by exp(-edge_gamma) for a change of 1; black "
        "to white is the square root of 3",
        json_schema_extra=WITH_COLOURS,
    )
    working_size: int = Field(
        125,
        ge=16,
        le=4096,
        description="longer side, in pixels, to which larger images are reduced",
        json_schema_extra=WITH_COLOURS,
    )
    relaxation_steps: int = Field(
        500, ge=1, le=100000, description="maximum number of primal-dual steps", json_schema_extra=WITH_COLOURS
    )
    relaxation_gap: float = Field(
        1e-3,
        ge=0,
        lt=1,
        description="primal-dual gap to stop at, as a share of the sum of costs",
        json_schema_extra=WITH_COLOURS,
    )
