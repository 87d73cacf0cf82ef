"""Hyperparameters of how a batch becomes a loss."""

from typing import Literal

from pydantic import BaseModel, Field

from trainable.config.conditions import only_with

SUPERVISED = "supervised"  # of recipe
MIXING = ("mixup", "cutmix", "cyclemix")  # recipes that mix pairs of a batch
WITH_TEACHER = only_with(recipe=("mean_teacher",))
WITH_BRANCHES = only_with(recipe=("dual_branch",))
WITH_CYCLEMIX = only_with(recipe=("cyclemix",))


class RecipeFields(BaseModel):
    recipe: Literal["supervised", "mixup", "cutmix", "mean_teacher", "dual_branch", "cyclemix"] = Field(
        "supervised", description="how a batch becomes a loss"
    )
    mix_alpha: float = Field(
        0.5,
        gt=0,
        description="parameter of the Beta distribution of the shares in which pairs are mixed",
        json_schema_extra=only_with(recipe=MIXING),
    )
    teacher_decay: float = Field(
        0.99, gt=0, lt=1, description="decay of the teacher's averaged weights", json_schema_extra=WITH_TEACHER
    )
    input_noise: float = Field(
        0.1, ge=0, description="noise on images, in standard deviations of a channel", json_schema_extra=WITH_TEACHER
    )
    consistency: float = Field(
        0.1, ge=0, description="weight of the difference from the teacher", json_schema_extra=WITH_TEACHER
    )
    consistency_rampup: float = Field(
        0.3, ge=0, le=1, description="share of the steps over which that weight grows", json_schema_extra=WITH_TEACHER
    )
    branch_dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="dropout on the features that the second decoder gets",
        json_schema_extra=WITH_BRANCHES,
    )
    pseudo_weight: float = Field(
        0.5, ge=0, description="weight of the loss on pseudo labels", json_schema_extra=WITH_BRANCHES
    )
    mix_blocks: int = Field(
        4, ge=2, le=8, description="blocks per side, each from one image of a pair", json_schema_extra=WITH_CYCLEMIX
    )
    mix_beta: float = Field(
        1.2, ge=0, description="cost of neighbouring blocks from two images", json_schema_extra=WITH_CYCLEMIX
    )
    mix_gamma: float = Field(0.5, ge=0, description="cost of visible seams", json_schema_extra=WITH_CYCLEMIX)
    mix_eta: float = Field(
        0.2,
        ge=0,
        description="how closely the share of each image follows the one drawn",
        json_schema_extra=WITH_CYCLEMIX,
    )
    mix_transport: Literal["none", "blocks"] = Field(
        "none", description="blocks: salient blocks move to where their image is shown", json_schema_extra=WITH_CYCLEMIX
    )
    mix_transport_cost: float = Field(
        0.2,
        ge=0,
        description="cost of moving a block by one place, as a share of the mean saliency of a block",
        json_schema_extra=only_with(mix_transport=("blocks",)),
    )
    occlusion: Literal["background", "unlabelled"] = Field(
        "background", description="what scribbles in the cut-out square become", json_schema_extra=WITH_CYCLEMIX
    )
    occlusion_size: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="side of the cut-out square, as a share of the shorter side",
        json_schema_extra=WITH_CYCLEMIX,
    )
    global_consistency: float = Field(
        0.1,
        ge=0,
        description="weight of the difference between predictions of mixed images and mixed predictions",
        json_schema_extra=WITH_CYCLEMIX,
    )
    local_consistency: float = Field(
        0.1,
        ge=0,
        description="weight of the difference from the largest component of each class",
        json_schema_extra=WITH_CYCLEMIX,
    )
