"""Hyperparameters of what networks that have seen other images contribute to the segmentation of an image."""

from typing import Literal

from pydantic import BaseModel, Field

from trainable.config.conditions import only_with
from trainable.config.values import IMAGENET, Source

FEATURED = ("colour_distributions", "pixelwise", "cnn", "unet")  # methods that take features
NETWORKS = ("pixelwise", "cnn", "unet")  # of these, those that choose their inputs
SOURCES = ("encoder", "fold")  # of features
WITH_NETWORK = only_with(method=(*FEATURED, "finetune"))
WITH_FOLD = only_with(features=("fold",))
WITH_ENCODER = only_with(features=("encoder",))
WITH_FEATURES = only_with(method=FEATURED, features=SOURCES)
WITH_TUNING = only_with(method=("finetune",))
WITH_SAM = only_with(method=("sam",))
DEFAULT_FREE = ("features",)  # hyperparameters that are no part of an id at their default


class PretrainedFields(BaseModel):
    features: Literal["none", "encoder", "fold"] = Field(
        "none",
        description="a network that has seen other images: an encoder with weights, or the fold model of another run "
        "that never saw the image; methods take features of it, finetune tunes it",
        json_schema_extra=WITH_NETWORK,
    )
    features_from: str | None = Field(
        None,
        min_length=1,
        description="a run of networks on the same folds, whose winner is taken, or the folder of one of its configs",
        json_schema_extra=WITH_FOLD | {"allowed": "a run by name, folder or URL, or runs/NAME/configs/ID"},
    )
    encoder: str = Field(
        "tf_efficientnet_lite0",
        description="any encoder of smp, or any timm model with feature maps",
        json_schema_extra=WITH_ENCODER,
    )
    encoder_weights: Source = Field(IMAGENET, description="weights of the encoder", json_schema_extra=WITH_ENCODER)
    features_channels: int | None = Field(
        None,
        ge=1,
        le=64,
        description="channels to which features are reduced, by principal components over training images; those of a "
        "fold model begin with its probabilities. none: 8 of an encoder, the probabilities alone of a fold model",
        json_schema_extra=WITH_FEATURES,
    )
    frozen: Literal["none", "encoder", "all_but_head"] = Field(
        "none", description="parameters that are not tuned", json_schema_extra=WITH_TUNING
    )
    tuning_steps: int = Field(
        10, ge=1, le=10000, description="steps of Adam on the scribbles of an image", json_schema_extra=WITH_TUNING
    )
    tuning_rate: float = Field(1e-5, gt=0, le=1, description="learning rate of Adam", json_schema_extra=WITH_TUNING)
    hidden_scribbles: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the scribbles that is hidden in each step from a network that sees scribbles",
        json_schema_extra=WITH_TUNING,
    )
    sam_size: Literal["tiny", "base", "large", "huge"] = Field(
        "base", description="the size of SAM; tiny is for trying it out", json_schema_extra=WITH_SAM
    )
    sam_weights: str | None = Field(
        None,
        description="a folder or safetensors file, or a model of the hub such as facebook/sam-vit-base; none with "
        "sam_size = tiny only",
        json_schema_extra=WITH_SAM,
    )
    sam_points: int = Field(
        8, ge=1, le=256, description="points of each class on its scribbles", json_schema_extra=WITH_SAM
    )

    def pretrained_problems(self, method: str, inputs: str) -> list[str]:
        """What contradicts the method and its inputs; for the validation of all hyperparameters together."""
        problems: list[str] = []
        if method not in (*FEATURED, "finetune", "sam"):
            return problems
        used = method not in NETWORKS or "features" in inputs.split("+")
        if method == "finetune" and self.features == "none":
            problems.append("features: method = finetune tunes a network; choose encoder or fold")
        if self.features == "fold" and self.features_from is None:
            problems.append("features_from: is missing; features = fold needs a run, as in features_from=runs/NAME")
        if self.features != "none" and not used:
            problems.append(f"features = {self.features}: are not in inputs = {inputs}; choose {inputs}+features")
        if self.features == "none" and method in NETWORKS and used:
            problems.append(f"inputs = {inputs}: needs features = encoder or fold; here it is none")
        if self.features == "encoder" and self.encoder_weights.lower() in ("none", "null"):
            problems.append("encoder_weights: random weights say nothing of an image; choose imagenet or a file")
        if method == "sam" and self.sam_weights is None and self.sam_size != "tiny":
            problems.append(f"sam_weights: method = sam needs the weights of a SAM of size {self.sam_size}")
        return problems
