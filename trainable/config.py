"""A config: every hyperparameter of training a fold, with its type, range and default."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from trainable.errors import UserError, did_you_mean

STRIDE = 32
UNSCORED = ("acceleration",)  # hyperparameters that do not decide a score


def parse_size(value: Any) -> Any:
    """Read "480x352" or [480, 352] as a width and a height; "auto" stays."""
    if value == "auto":
        return value
    parts = value.lower().split("x") if isinstance(value, str) else value
    try:
        width, height = (int(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError("must be 'auto' or WIDTHxHEIGHT, as in 480x352") from None
    if width < STRIDE or height < STRIDE or width % STRIDE or height % STRIDE:
        raise ValueError(f"width and height must be multiples of {STRIDE} (the encoder halves them five times)")
    return (width, height)


Size = Annotated[Literal["auto"] | tuple[int, int], BeforeValidator(parse_size)]


class Config(BaseModel):
    """One point of a space with all values set. Equal configs have equal ids."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: Literal["unet"] = Field("unet", description="the kind of network")
    encoder: str = Field("efficientnet-b2", description="any encoder of smp, or any timm model with feature maps")
    encoder_weights: Literal["imagenet"] | None = Field(None, description="none trains from scratch")
    attention: Literal["scse"] | None = Field("scse", description="attention in the decoder")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of channels dropped before the last layer")
    loss: Literal["dice", "iou"] = Field("iou", description="the region term of the loss")
    lambda_region: float = Field(1.0, ge=0, description="weight of the region term")
    lambda_bce: float = Field(0.2, ge=0, description="weight of binary cross-entropy")
    pc: float = Field(3.0, gt=0, description="weight of foreground pixels in binary cross-entropy")
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
    tau: float = Field(0.5, gt=0, lt=1, description="probability from which a pixel is foreground")
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, augmentation and dropout")

    @property
    def id(self) -> str:
        """A hash of the canonical JSON of all that decides a score, short enough for a folder name."""
        values = self.model_dump(mode="json", exclude=set(UNSCORED))
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def report_steps(self, until: int) -> list[int]:
        """The steps up to ``until`` at which a fold is evaluated: the same fractions of every horizon."""
        count = min(self.evaluations, self.steps)
        return [step for k in range(1, count + 1) if (step := round(k * self.steps / count)) <= until]


def make_config(values: Mapping[str, Any]) -> Config:
    """A config of these values and defaults for the rest; all mistakes are listed in one error.

    The words ``none`` and ``null`` stand for None where a hyperparameter may be None.
    """
    try:
        return Config.model_validate({name: _value(name, value) for name, value in values.items()})
    except ValidationError as error:
        raise UserError("; ".join(_explain(problem) for problem in error.errors())) from None


def _value(name: str, value: Any) -> Any:
    field = Config.model_fields.get(name)
    optional = field is not None and type(None) in get_args(field.annotation)
    return None if optional and isinstance(value, str) and value.lower() in ("none", "null") else value


def describe() -> list[dict[str, Any]]:
    """Every hyperparameter with its default, what is allowed and what it does."""
    schema = Config.model_json_schema()["properties"]
    return [
        {"name": name, "default": field.get_default(), "allowed": allowed(schema[name]), "meaning": field.description}
        for name, field in Config.model_fields.items()
    ]


def allowed(schema: Mapping[str, Any]) -> str:
    """What a field's JSON schema allows, as text."""
    if "allowed" in schema:
        return str(schema["allowed"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(allowed(part) for part in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    words = {"array": "WIDTHxHEIGHT", "null": "none", "number": "number", "integer": "integer", "string": "name"}
    limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]}" for key, sign in limits.items() if key in schema]
    return " ".join([words[schema["type"]], ", ".join(bounds)]).strip()


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """Read ``key=value`` words as a command line gives them."""
    values: dict[str, str] = {}
    for word in assignments:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {word!r}: write key=value, as in --set batch_size=8")
        values[key.strip()] = value.strip()
    return values


def _explain(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"][:1])
    if problem["type"] == "extra_forbidden":
        known = Config.model_fields
        hint = did_you_mean(key, known) or f" Known: {', '.join(known)}."
        return f"unknown hyperparameter {key!r}.{hint}"
    message = problem["msg"].removeprefix("Value error, ")
    hint = ""
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        hint = did_you_mean(
            problem["input"], problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        )
    return f"{key} = {problem['input']!r}: {message[:1].lower()}{message[1:]}.{hint}"
