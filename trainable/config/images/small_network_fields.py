"""Hyperparameters of the small networks that are trained on one image."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from trainable.config.conditions import only_with

STACKED = only_with(method=("pixelwise", "cnn"))
SMALL_NETWORKS = only_with(method=("pixelwise", "cnn", "unet"))


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"must be odd; here it is {number}")
    return number


class SmallNetworkFields(BaseModel):
    depth: int = Field(2, ge=1, le=8, description="hidden layers", json_schema_extra=STACKED)
    width: int = Field(
        16,
        ge=1,
        le=128,
        description="channels of a hidden layer; of the U-Net at full resolution, doubled by each downscaling",
        json_schema_extra=SMALL_NETWORKS,
    )
    kernel: Annotated[int, AfterValidator(_odd)] = Field(
        3, ge=1, le=9, description="side of the convolution kernels, odd", json_schema_extra=only_with(method=("cnn",))
    )
    downscalings: int = Field(
        2,
        ge=0,
        le=4,
        description="number of poolings, each of which halves the image",
        json_schema_extra=only_with(method=("unet",)),
    )
    iterations: int = Field(
        100, ge=1, description="steps of Adam on the scribbles of an image", json_schema_extra=SMALL_NETWORKS
    )
    learning_rate: float = Field(
        0.01,
        gt=0,
        le=1,
        description="learning rate of Adam; unet: at most 0.3 times as much, falling to 0",
        json_schema_extra=SMALL_NETWORKS,
    )
    scribble_pixels: int = Field(
        512,
        ge=1,
        le=8192,
        description="scribbled pixels to learn from; if there are more, a random share of each class's",
        json_schema_extra=STACKED,
    )
    beta: float = Field(
        0,
        ge=0,
        description="double backpropagation: 1e-7 * beta times the L1 norm of the gradient of the loss with respect to "
        "the penalised inputs is added to the loss",
        json_schema_extra=SMALL_NETWORKS,
    )
    penalised: Literal["xy", "colour"] = Field(
        "xy", description="inputs whose influence beta reduces", json_schema_extra=SMALL_NETWORKS
    )

    def network_problems(self, inputs: str) -> list[str]:
        """What contradicts the inputs; for the validation of all hyperparameters together."""
        if self.beta and self.penalised not in inputs.split("+"):
            return [f"beta: penalised = {self.penalised} is no part of inputs = {inputs}; choose another, or beta = 0"]
        return []
