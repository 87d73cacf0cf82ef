"""Hyperparameters of a stage before training, and the sizes of the views that it sees."""

from typing import Literal

from pydantic import BaseModel, Field

from trainable.config.conditions import only_with
from trainable.config.values import STRIDE, Names

WITH_DINO = only_with(pretraining=("dino",))

Pair = tuple[int, int]  # width and height


class StageFields(BaseModel):
    pretraining: Literal["none", "dino"] = Field(
        "none", description="a stage before training: dino trains the encoder on the fold's images without labels"
    )
    pretraining_epochs: int = Field(100, ge=1, description="passes over the images", json_schema_extra=WITH_DINO)
    pretraining_batch_size: int = Field(16, ge=2, description="images per step", json_schema_extra=WITH_DINO)
    pretraining_learning_rate: float = Field(
        5e-4, gt=0, description="peak learning rate of AdamW, after a tenth of the steps", json_schema_extra=WITH_DINO
    )
    pretraining_data: Names | None = Field(
        None, description="splits without masks whose images are added", json_schema_extra=WITH_DINO
    )
    student_temperature: float = Field(
        0.1, gt=0, description="temperature of the student's softmax", json_schema_extra=WITH_DINO
    )
    teacher_temperature: float = Field(
        0.04, gt=0, description="temperature of the teacher's softmax; lower is sharper", json_schema_extra=WITH_DINO
    )
    teacher_momentum: float = Field(
        0.99, ge=0, lt=1, description="decay of the teacher's average, which rises to 1", json_schema_extra=WITH_DINO
    )
    local_crops: int = Field(
        4,
        ge=0,
        description="number of small views of an image, besides the two large ones",
        json_schema_extra=WITH_DINO,
    )
    projection_size: int = Field(
        256, ge=2, description="number of outputs of the projection", json_schema_extra=WITH_DINO
    )


def view_sizes(size: Pair) -> tuple[Pair, Pair]:
    """The sizes of large and small views: a half and a quarter of the working size."""
    return _fraction(size, 2), _fraction(size, 4)


def _fraction(size: Pair, parts: int) -> Pair:
    width, height = (max(STRIDE, round(side / parts / STRIDE) * STRIDE) for side in size)
    return width, height
