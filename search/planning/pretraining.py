"""The encoders that the configs of a space pre-train, and about how long that takes."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.planning.step_seconds import FORWARD, Durations, images_of
from spaces.space import Point, Space
from trainable.config import Config, made_of
from trainable.config.stage_fields import view_sizes
from trainable.data.dataset import find_splits


@dataclass(frozen=True)
class Pretraining:
    """``seconds`` is the total of all encoders, one per fold and stage."""

    encoders: int
    seconds: float


def estimate_pretraining(
    space: Space, points: Sequence[Point], by_config: Mapping[str, Durations]
) -> Pretraining | None:
    """None if no config has such a stage. Configs that share an encoder count once."""
    stages = {json.dumps(made_of(point.config.model_dump(mode="json"))): point for point in points}
    stages.pop("null", None)
    if not stages or not space.trainable.needs_data:
        return None
    images, folds = images_of(space, points), space.settings.folds
    found = {} if images.folder is None else find_splits(images.folder)

    def seconds(point: Point) -> float:
        config = point.config
        names = [] if config.pretraining_data is None else config.pretraining_data.split(",")
        seen = images.count * (folds - 1) // folds + sum(len(found[name].images) for name in names if name in found)
        size = images.size if isinstance(config.size, str) else config.size
        return stage_seconds(config, size, seen, by_config[point.id].step)

    return Pretraining(folds * len(stages), folds * math.fsum(map(seconds, stages.values())))


def stage_seconds(config: Config, size: tuple[int, int], images: int, step_seconds: float) -> float:
    """The time of a stage from that of a training step: as long per pixel, and the teacher only looks.

    The stage has no decoder and a training step has no projection, so this is an estimate.
    """
    large, small = (width * height for width, height in view_sizes(size))
    pixels = 2 * large * (1 + FORWARD) + config.local_crops * small
    steps = images // config.pretraining_batch_size * config.pretraining_epochs
    per_pixel = step_seconds / (config.batch_size * size[0] * size[1])
    return steps * config.pretraining_batch_size * pixels * per_pixel
