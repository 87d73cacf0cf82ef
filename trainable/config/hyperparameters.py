"""A config: every hyperparameter of training a fold, with its type, range and default."""

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from trainable.config.conditions import only_with, unmet
from trainable.config.values import Size, Weights

SCRIBBLED = "image+scribble"  # of inputs
UNSCORED = ("acceleration",)  # hyperparameters that do not decide a score
ALONE = "one value alone"  # context of a validation that does not look at the other hyperparameters
ENCODED = ("unet",)  # networks with an encoder by name
# Hyperparameters of the first version are part of every id, later ones only where they differ from their default.
FIRST = frozenset(
    {
        "architecture",
        "encoder",
        "encoder_weights",
        "attention",
        "dropout",
        "loss",
        "lambda_region",
        "lambda_bce",
        "pc",
        "augmentation",
        "size",
        "batch_size",
        "learning_rate",
        "final_learning_rate",
        "warmup_steps",
        "weight_decay",
        "gradient_clip",
        "ema",
        "steps",
        "evaluations",
        "patience",
        "precision",
        "acceleration",
        "tau",
        "seed",
    }
)
WITH_ENCODER = only_with(architecture=ENCODED)
WITH_MASKS = only_with(supervision=("masks",))


class Config(BaseModel):
    """One point of a space with all values set. Equal configs have equal ids."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: Literal["unet"] = Field("unet", description="the kind of network")
    encoder: str = Field(
        "efficientnet-b2",
        description="any encoder of smp, or any timm model with feature maps",
        json_schema_extra=WITH_ENCODER,
    )
    encoder_weights: Literal["imagenet"] | None = Field(
        None, description="none trains from scratch", json_schema_extra=WITH_ENCODER
    )
    attention: Literal["scse"] | None = Field(
        "scse", description="attention in the decoder", json_schema_extra=only_with(architecture=("unet",))
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="share of channels dropped before the last layer")
    loss: Literal["dice", "iou"] = Field("iou", description="the region term of the loss", json_schema_extra=WITH_MASKS)
    lambda_region: float = Field(1.0, ge=0, description="weight of the region term", json_schema_extra=WITH_MASKS)
    lambda_bce: float = Field(0.2, ge=0, description="weight of cross-entropy", json_schema_extra=WITH_MASKS)
    pc: float = Field(3.0, gt=0, description="weight in cross-entropy of pixels of every class but the first")
    class_weights: Weights | None = Field(None, description="a weight per class in cross-entropy, instead of pc")
    supervision: Literal["masks", "scribbles"] = Field(
        "masks", description="what is learnt from; with scribbles the loss is cross-entropy on scribbled pixels alone"
    )
    inputs: Literal["image+scribble", "image"] = Field("image+scribble", description="what the network sees")
    augmentation: Literal["none", "low", "medium", "high"] = Field("low", description="level of augmentation")
    size: Size = Field("auto", description="working size; auto is the largest multiple of 32 not above the original")
    batch_size: int = Field(8, ge=1, description="images per step")
    learning_rate: float = Field(5e-3, gt=0, description="of AdamW, at its highest")
    final_learning_rate: float = Field(1e-7, ge=0, description="where the cosine ends")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(1e-4, ge=0, description="decoupled; norms and biases are spared")
    gradient_clip: float = Field(1.0, ge=0, description="largest gradient norm; 0 turns clipping off")
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights that are scored; 0 is off")
    steps: int = Field(12_000, ge=1, description="the horizon: the cosine spans all of it")
    evaluations: int = Field(100, ge=1, description="reports, evenly spaced over the horizon")
    patience: int = Field(60, ge=0, description="epochs without a better score before stopping; 0 never stops")
    precision: Literal["auto", "bf16", "float32"] = Field("auto", description="auto is bf16 on CUDA")
    acceleration: Literal["auto", "none", "compile", "graph"] = Field(
        "auto", description="how steps are taken: as usual, by torch.compile, as a CUDA graph; not part of the id"
    )
    tau: float = Field(0.5, gt=0, lt=1, description="probability from which a pixel is foreground, of two classes")
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, augmentation and dropout")

    @property
    def id(self) -> str:
        """A hash of the canonical JSON of all that decides a score, short enough for a folder name."""
        values = self.model_dump(mode="json", exclude=set(UNSCORED))
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what does not exist beside the other values, and later hyperparameters at their default."""
        values: dict[str, Any] = dump(self)
        fields = type(self).model_fields
        return {
            name: value
            for name, value in values.items()
            if name not in fields
            or not (unmet(type(self), name, values) or (name not in FIRST and value == fields[name].get_default()))
        }

    @model_validator(mode="after")
    def _refuse_unmet(self, info: ValidationInfo) -> Self:
        if info.context != ALONE:
            rules = [(name, unmet(type(self), name, vars(self))) for name in sorted(self.model_fields_set)]
            problems = [f"{name}: {rule}" for name, rule in rules if rule]
            if self.class_weights is not None and self.pc != Config.model_fields["pc"].default:
                problems.append("pc: without effect where class_weights are given; leave the default")
            if problems:
                raise ValueError("; ".join(problems))
        return self

    def report_steps(self, until: int) -> list[int]:
        """The steps up to ``until`` at which a fold is evaluated: the same fractions of every horizon."""
        count = min(self.evaluations, self.steps)
        return [step for k in range(1, count + 1) if (step := round(k * self.steps / count)) <= until]
