"""A config of a method that segments each image from its own scribbles alone."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from trainable.config.conditions import only_with
from trainable.config.images.colour_fields import ColourFields
from trainable.config.images.scribble_fields import ScribbleFields
from trainable.config.images.small_network_fields import SmallNetworkFields
from trainable.config.trial_config import TrialConfig

METHOD = "method"  # the hyperparameter that only these configs have
ORIGINAL = "original"  # of size
LEAST = 8  # the shortest side of a size
WITH_INPUTS = only_with(method=("pixelwise", "cnn", "unet"))


def parse_size(value: Any) -> Any:
    """Read "480x352" or [480, 352] as a width and a height; "original" stays."""
    if value == ORIGINAL:
        return value
    parts = value.lower().split("x") if isinstance(value, str) else value
    try:
        width, height = (int(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError(f"must be {ORIGINAL!r} or WIDTHxHEIGHT, as in 240x176") from None
    if min(width, height) < LEAST:
        raise ValueError(f"width and height must be at least {LEAST}")
    return (width, height)


class ImageConfig(ScribbleFields, ColourFields, SmallNetworkFields, TrialConfig):
    """Every hyperparameter of segmenting the held-out images of a fold one by one."""

    method: Literal["nearest", "grabcut", "random_walker", "colour_distributions", "pixelwise", "cnn", "unet"] = Field(
        "nearest", description="how an image is segmented"
    )
    inputs: Literal["colour", "colour+xy"] = Field(
        "colour+xy", description="what the method sees of a pixel", json_schema_extra=WITH_INPUTS
    )
    size: Annotated[Literal["original"] | tuple[int, int], BeforeValidator(parse_size)] = Field(
        "original",
        description="the size at which images are segmented; original is their own, scores are always at their own",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of what a method draws at random")
    steps: int = Field(
        100,
        ge=1,
        description="equal parts in which the held-out images of a fold are worked through, so that all folds have one "
        "horizon: a report at step s covers the first round(s / steps * n) of n images, at least one",
    )
    evaluations: int = Field(10, ge=1, description="reports, evenly spaced over the steps")

    def contradictions(self) -> list[str]:
        return self.network_problems(self.inputs) if self.has("beta") else []

    def images_at(self, step: int, images: int) -> int:
        """How many of a fold's held-out images have been segmented at this step."""
        return min(images, max(1, round(step / self.steps * images)))
