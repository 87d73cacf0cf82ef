"""A config: every hyperparameter of training a fold, with its type, range and default."""

import hashlib
import json
from typing import Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from trainable.config.conditions import conditions_of, only_with, unmet
from trainable.config.values import RATES, Names, Rates, Region, Size, Weights

SCRIBBLED = "image+scribble"  # of inputs
UNSCORED = ("acceleration",)  # hyperparameters that do not decide a score
ALONE = "one value alone"  # context of a validation that does not look at the other hyperparameters
ENCODED = ("unet", "unetplusplus", "deeplabv3plus", "segformer", "upernet")  # networks with an encoder by name
PLAIN = ("unet-plain", "resunet", "attention-resunet", "exmod-unet")  # networks of a width and a depth
POOLED = ("deeplabv3plus", "upernet")  # networks that normalise an average of the whole image
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
WITH_DEPTH = only_with(architecture=PLAIN)
WITH_MASKS = only_with(supervision=("masks",))
WITH_SCRIBBLES = only_with(supervision=("scribbles",))
WITH_REGION = only_with(supervision=("masks",), loss=get_args(Region))
WITH_TVERSKY = only_with(loss=("tversky",))
WITH_DINO = only_with(pretraining=("dino",))


Network = tuple[tuple[str, Any], ...]  # hyperparameters and their values


def network_name(network: Network) -> str:
    """A network in few words: "resnet18 unet" of those with an encoder, "unet-plain, width 64, depth 4" of others."""
    values = dict(network)
    if "encoder" in values:
        return f"{values['encoder']} {values['architecture']}"
    return ", ".join([values.pop("architecture"), *(f"{name} {value}" for name, value in values.items())])


def _is_default(value: Any, field: FieldInfo) -> bool:
    """Whether a dumped value is the default; JSON has lists in place of tuples."""
    return bool((tuple(value) if isinstance(value, list) else value) == field.get_default())


class Config(BaseModel):
    """One point of a space with all values set. Equal configs have equal ids."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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
    ] = Field("unet", description="the kind of network")
    encoder: str = Field(
        "efficientnet-b2",
        description="any encoder of smp, or any timm model with feature maps",
        json_schema_extra=WITH_ENCODER,
    )
    encoder_weights: Literal["imagenet"] | None = Field(
        None, description="none trains from scratch", json_schema_extra=WITH_ENCODER
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
        4, ge=1, le=8, description="poolings, each of which halves the image", json_schema_extra=WITH_DEPTH
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="share of channels dropped before the last layer")
    supervision: Literal["masks", "scribbles"] = Field(
        "masks", description="what is learnt from; with scribbles, masks of training images are never read"
    )
    loss: Literal[Region, "dice+bce", "ce"] = Field(
        "iou",
        description="the region term of the loss; dice+bce weights both by alpha, ce is cross-entropy alone",
        json_schema_extra=WITH_MASKS,
    )
    lambda_region: float = Field(1.0, ge=0, description="weight of the region term", json_schema_extra=WITH_REGION)
    lambda_bce: float = Field(0.2, ge=0, description="weight of cross-entropy", json_schema_extra=WITH_REGION)
    alpha: float = Field(
        0.5, ge=0, le=1, description="weight of BCE; Dice has the rest", json_schema_extra=only_with(loss=("dice+bce",))
    )
    tversky_alpha: float = Field(0.3, ge=0, description="of false positives", json_schema_extra=WITH_TVERSKY)
    tversky_beta: float = Field(0.7, ge=0, description="of false negatives", json_schema_extra=WITH_TVERSKY)
    lambda_focal: float = Field(0.0, ge=0, description="weight of the focal loss", json_schema_extra=WITH_MASKS)
    focal_gamma: float = Field(
        2.0, ge=0, description="how much easy pixels lose of their weight", json_schema_extra=WITH_MASKS
    )
    focal_alpha: float = Field(
        0.25, ge=0, le=1, description="of every class but the first; it has the rest", json_schema_extra=WITH_MASKS
    )
    objective: Literal["pce", "wpce"] = Field(
        "pce",
        description="cross-entropy on scribbled pixels; wpce weights classes by inverse frequency",
        json_schema_extra=WITH_SCRIBBLES,
    )
    lambda_crf: float = Field(0.0, ge=0, description="weight of the gated CRF", json_schema_extra=WITH_SCRIBBLES)
    crf_radius: int = Field(5, ge=1, le=32, description="of the CRF's window", json_schema_extra=WITH_SCRIBBLES)
    crf_sigma_xy: float = Field(6.0, gt=0, description="of its kernel, in pixels", json_schema_extra=WITH_SCRIBBLES)
    crf_sigma_intensity: float = Field(
        0.1, gt=0, description="of its kernel, in intensities of 0..1", json_schema_extra=WITH_SCRIBBLES
    )
    lambda_entropy: float = Field(
        0.0, ge=0, description="weight of the entropy of pixels without a scribble", json_schema_extra=WITH_SCRIBBLES
    )
    lambda_tv: float = Field(0.0, ge=0, description="weight of total variation", json_schema_extra=WITH_SCRIBBLES)
    lambda_ms: float = Field(
        0.0, ge=0, description="weight of the intensity's variance within classes", json_schema_extra=WITH_SCRIBBLES
    )
    pc: float = Field(
        3.0,
        gt=0,
        description="weight in cross-entropy of pixels of every class but the first",
        json_schema_extra=only_with(loss=get_args(Region), objective=("pce",)),
    )
    class_weights: Weights | None = Field(
        None,
        description="a weight per class in cross-entropy, instead of pc",
        json_schema_extra=only_with(objective=("pce",)),
    )
    inputs: Literal["image+scribble", "image"] = Field("image+scribble", description="what the network sees")
    augmentation: Literal["none", "low", "medium", "high", "contrastive", "textbook"] = Field(
        "low", description="level of augmentation, or a recipe from the literature"
    )
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
    pretraining: Literal["none", "dino"] = Field(
        "none", description="a stage before training: dino trains the encoder on the fold's images without labels"
    )
    pretraining_epochs: int = Field(100, ge=1, description="passes over the images", json_schema_extra=WITH_DINO)
    pretraining_batch_size: int = Field(16, ge=2, description="images per step", json_schema_extra=WITH_DINO)
    pretraining_learning_rate: float = Field(
        5e-4, gt=0, description="of AdamW, after a tenth of the steps", json_schema_extra=WITH_DINO
    )
    pretraining_data: Names | None = Field(
        None, description="splits without masks whose images are added, as in test1", json_schema_extra=WITH_DINO
    )
    student_temperature: float = Field(0.1, gt=0, description="of the student's softmax", json_schema_extra=WITH_DINO)
    teacher_temperature: float = Field(
        0.04, gt=0, description="of the teacher's softmax; lower is sharper", json_schema_extra=WITH_DINO
    )
    teacher_momentum: float = Field(
        0.9, ge=0, lt=1, description="decay of the teacher's average, which rises to 1", json_schema_extra=WITH_DINO
    )
    local_crops: int = Field(
        4, ge=0, description="small views of an image beside the two large ones", json_schema_extra=WITH_DINO
    )
    projection_size: int = Field(256, ge=2, description="outputs of the projection", json_schema_extra=WITH_DINO)
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, augmentation and dropout")

    @property
    def id(self) -> str:
        """A hash of the canonical JSON of all that decides a score, short enough for a folder name."""
        values = self.model_dump(mode="json", exclude=set(UNSCORED))
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def has(self, name: str) -> bool:
        """Whether a hyperparameter exists beside the values of the others."""
        return unmet(type(self), name, vars(self)) is None

    @property
    def network(self) -> Network:
        """What the network is built from: the architecture, and the hyperparameters that exist only with some."""
        own = (name for name in type(self).model_fields if "architecture" in conditions_of(type(self), name))
        names = (name for name in own if name != "encoder_weights" and self.has(name))
        return tuple((name, getattr(self, name)) for name in ("architecture", *names))

    def size_problem(self, size: tuple[int, int]) -> str | None:
        """Why the network cannot be trained at this working size, or None."""
        here, least = "x".join(map(str, size)), 2**self.depth if self.has("depth") else 0
        if min(size) < least:
            return (
                f"depth = {self.depth}: halves images {self.depth} times, so they must be at least {least}x{least}; "
                f"here they are {here}"
            )
        if self.batch_size == 1 and (self.architecture in POOLED or max(size) <= least):
            return (
                f"batch_size = 1: batch norm in {self.architecture} sees one value per image of {here}, "
                "so it needs at least 2 images per step"
            )
        return None

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what does not exist beside the other values, and later hyperparameters at their default."""
        values: dict[str, Any] = dump(self)
        fields = type(self).model_fields
        return {
            name: value
            for name, value in values.items()
            if name not in fields
            or not (unmet(type(self), name, values) or (name not in FIRST and _is_default(value, fields[name])))
        }

    @model_validator(mode="after")
    def _refuse_contradictions(self, info: ValidationInfo) -> Self:
        if info.context != ALONE:
            rules = [(name, unmet(type(self), name, vars(self))) for name in sorted(self.model_fields_set)]
            problems = [f"{name}: {rule}" for name, rule in rules if rule]
            if self.class_weights is not None and self.pc != Config.model_fields["pc"].default:
                problems.append("pc: without effect where class_weights are given; leave the default")
            if problems:
                raise ValueError("; ".join(problems))
            if not isinstance(self.size, str) and (problem := self.size_problem(self.size)):
                raise ValueError(problem)
        return self

    def report_steps(self, until: int) -> list[int]:
        """The steps up to ``until`` at which a fold is evaluated: the same fractions of every horizon."""
        count = min(self.evaluations, self.steps)
        return [step for k in range(1, count + 1) if (step := round(k * self.steps / count)) <= until]
