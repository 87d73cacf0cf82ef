"""A config: every hyperparameter of training a fold, with its type, range and default."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, model_validator
from pydantic.fields import FieldInfo

from trainable.config.conditions import conditions_of, refusal
from trainable.config.first_version import FIRST
from trainable.config.loss_fields import LossFields
from trainable.config.network_fields import ENCODED, POOLED, WEIGHTS, Network, NetworkFields
from trainable.config.plugins.parts import Parts
from trainable.config.plugins.plugin import Plugin
from trainable.config.recipe_fields import MIXING, RecipeFields
from trainable.config.stage_fields import StageFields, view_sizes
from trainable.config.trial_config import ALONE, TrialConfig
from trainable.config.values import IMAGENET, Size

SCRIBBLED = "image+scribble"  # of inputs


def _is_later(name: str, values: Mapping[str, Any]) -> bool:
    """Whether the first version had no such hyperparameter, or not with this network."""
    return name not in FIRST or (name == "encoder_weights" and values["architecture"] not in ENCODED)


def _is_default(value: Any, field: FieldInfo) -> bool:
    """Whether a dumped value is the default; JSON has lists in place of tuples."""
    return bool((tuple(value) if isinstance(value, list) else value) == field.get_default())


class Config(StageFields, RecipeFields, LossFields, NetworkFields, TrialConfig):
    """Every hyperparameter of training a network on the images of the other folds."""

    plugins: ClassVar[tuple[Plugin, ...]] = ()
    parts: ClassVar[Parts] = Parts()  # of the plugins
    joined: ClassVar[Mapping[tuple[str, str], tuple[str, ...]]] = {}  # names of plugins by (hyperparameter, choice)

    inputs: Literal["image+scribble", "image"] = Field("image+scribble", description="what the network sees")
    augmentation: Literal["none", "low", "medium", "high", "contrastive", "textbook"] = Field(
        "low", description="level of augmentation, or a recipe from the literature"
    )
    size: Size = Field("auto", description="working size; auto is the largest multiple of 32 not above the original")
    batch_size: int = Field(8, ge=1, description="images per step")
    learning_rate: float = Field(5e-3, gt=0, description="peak learning rate of AdamW")
    encoder_learning_rate: float = Field(
        1.0, ge=0, description="factor on the learning rate for the encoder; 0 freezes its parameters"
    )
    final_learning_rate: float = Field(1e-7, ge=0, description="learning rate at the end of the cosine schedule")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(1e-4, ge=0, description="decoupled weight decay; norms and biases have none")
    gradient_clip: float = Field(1.0, ge=0, description="largest gradient norm; 0 turns clipping off")
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights that are scored; 0 is off")
    steps: int = Field(
        12_000, ge=1, description="the horizon: number of training steps, and length of the cosine schedule"
    )
    evaluations: int = Field(100, ge=1, description="number of evaluations (reports), evenly spaced over the steps")
    patience: int = Field(60, ge=0, description="stop after this many epochs without a better score; 0 never stops")
    precision: Literal["auto", "bf16", "float32"] = Field("auto", description="auto is bf16 on CUDA")
    acceleration: Literal["auto", "none", "compile", "graph"] = Field(
        "auto", description="run steps eagerly, by torch.compile or as a CUDA graph; not part of a config's id"
    )
    tau: float = Field(0.5, gt=0, lt=1, description="two classes: probability from which a pixel is foreground")
    seed: int = Field(
        0, ge=0, lt=2**32, description="seed of initial weights, order of images, augmentation and dropout"
    )

    @property
    def network(self) -> Network:
        """What the network is built from: the architecture, and the hyperparameters that exist only with some."""
        own = (name for name in type(self).model_fields if "architecture" in conditions_of(type(self), name))
        names = (name for name in own if name not in WEIGHTS and self.has(name))
        return tuple((name, getattr(self, name)) for name in ("architecture", *names))

    @property
    def weights_file(self) -> str | None:
        """The path or URL of the weights that the encoder starts from, if they are in a file."""
        return None if self.encoder_weights == IMAGENET else self.encoder_weights

    @property
    def downloaded(self) -> bool:
        """Whether weights may have to be downloaded before the network can be built."""
        return self.encoder_weights == IMAGENET or self.sam_weights is not None

    @property
    def pretrained(self) -> bool:
        return any(getattr(self, name) is not None for name in WEIGHTS)

    def without_weights(self) -> Self:
        """The same network from scratch, for which nothing is read or downloaded."""
        return self.model_copy(update=dict.fromkeys(WEIGHTS))

    def size_problem(self, size: tuple[int, int]) -> str | None:
        """Why the network cannot be trained at this working size, or None."""
        here, least = "x".join(map(str, size)), 2**self.depth if self.has("depth") else 0
        if min(size) < least:
            return (
                f"depth = {self.depth}: halves images {self.depth} times, so they must be at least {least}x{least}; "
                f"here they are {here}"
            )
        if self.pretraining != "none" and min(view := view_sizes(size)[bool(self.local_crops)]) < least:
            return (
                f"depth = {self.depth}: halves images {self.depth} times, so views of pretraining = {self.pretraining} "
                f"must be at least {least}x{least}; those of images of {here} are {view[0]}x{view[1]}"
            )
        if self.batch_size == 1 and (self.architecture in POOLED or max(size) <= least):
            return (
                f"batch_size = 1: batch norm in {self.architecture} sees one value per image of {here}, "
                "so it needs at least 2 images per step"
            )
        return None

    @classmethod
    def left_out(cls, name: str, values: Mapping[str, Any]) -> bool:
        """Later hyperparameters at their default are not part of an id either."""
        return super().left_out(name, values) or (
            _is_later(name, values) and _is_default(values[name], cls.model_fields[name])
        )

    def contradictions(self) -> list[str]:
        problems = self._recipe_problems()
        if self.encoder_weights == IMAGENET and not self.has("encoder"):
            problems.append(
                f"encoder_weights: imagenet belongs to architecture = {' or '.join(ENCODED)}; "
                f"here architecture is {self.architecture}, so give a file of weights or leave it out"
            )
        if self.class_weights is not None and self.pc != Config.model_fields["pc"].default:
            problems.append("pc: without effect where class_weights are given; leave the default")
        return problems

    @model_validator(mode="after")
    def _refuse_unusable(self, info: ValidationInfo) -> Self:
        if info.context != ALONE:
            if problem := refusal(type(self), vars(self)):
                raise ValueError(problem)
            if not isinstance(self.size, str) and (problem := self.size_problem(self.size)):
                raise ValueError(problem)
        return self

    def _recipe_problems(self) -> list[str]:
        problems = []
        if self.recipe in MIXING and self.batch_size == 1:
            problems.append(f"recipe = {self.recipe}: mixes pairs of a batch, so batch_size must be at least 2")
        if self.recipe == "cyclemix" and self.supervision != "scribbles":
            problems.append(f"recipe = cyclemix: needs supervision = scribbles; here it is {self.supervision}")
        return problems
