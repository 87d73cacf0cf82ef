"""A config of a method that segments each image from its own scribbles alone."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from trainable.config.conditions import only_with
from trainable.config.hyperparameters import Config
from trainable.config.images.colour_fields import ColourFields
from trainable.config.images.pretrained_fields import DEFAULT_FREE, NETWORKS, PretrainedFields
from trainable.config.images.scribble_fields import ScribbleFields
from trainable.config.images.small_network_fields import SmallNetworkFields
from trainable.config.trial_config import TrialConfig

METHOD = "method"  # the hyperparameter that only these configs have
ORIGINAL = "original"  # of size
# Of the network around an encoder: its decoder is not trained yet, and it sees the image alone.
BARE: dict[str, Any] = {"architecture": "unet", "attention": None, "inputs": "image", "dropout": 0}
LEAST = 8  # the shortest side of a size
WITH_INPUTS = only_with(method=NETWORKS)


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


class ImageConfig(ScribbleFields, ColourFields, SmallNetworkFields, PretrainedFields, TrialConfig):
    """Every hyperparameter of segmenting the held-out images of a fold one by one."""

    method: Literal[
        "nearest", "grabcut", "random_walker", "colour_distributions", "pixelwise", "cnn", "unet", "finetune", "sam"
    ] = Field("nearest", description="how an image is segmented")
    inputs: Literal["colour", "colour+xy", "colour+features", "colour+xy+features"] = Field(
        "colour+xy", description="what the method sees of a pixel", json_schema_extra=WITH_INPUTS
    )
    size: Annotated[Literal["original"] | tuple[int, int], BeforeValidator(parse_size)] = Field(
        "original",
        description="the size at which images are segmented; original is their own, scores are always at their own",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of everything that a method draws at random")
    steps: int = Field(
        100,
        ge=1,
        description="number of equal parts into which the held-out images of a fold are divided: a report at step s "
        "covers the first round(s / steps * n) of n images, at least one",
    )
    evaluations: int = Field(10, ge=1, description="reports, evenly spaced over the steps")

    @property
    def network(self) -> Config | None:
        """The network that is built before the first image, unless it is the fold model of another run."""
        if self.method == "sam":
            own: dict[str, Any] = {name: getattr(self, name) for name in ("sam_size", "sam_weights", "sam_points")}
            return Config(architecture="sam", sam_trains="none", dropout=0, **own)
        if self.has("encoder"):
            return Config(encoder=self.encoder, encoder_weights=self.encoder_weights, **BARE)
        return None

    @classmethod
    def left_out(cls, name: str, values: Mapping[str, Any]) -> bool:
        """Without features, ids are those of the first methods, which had none."""
        default = name in DEFAULT_FREE and values[name] == cls.model_fields[name].get_default()
        return default or super().left_out(name, values)

    def contradictions(self) -> list[str]:
        problems = self.network_problems(self.inputs) if self.has("beta") else []
        return problems + self.pretrained_problems(self.method, self.inputs)

    def images_at(self, step: int, images: int) -> int:
        """How many of a fold's held-out images have been segmented at this step."""
        return min(images, max(1, round(step / self.steps * images)))
