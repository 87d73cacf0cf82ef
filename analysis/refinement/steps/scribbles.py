"""Pixels under a scribble get its label."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.refinement.steps.step import MaskStep, Scene
from trainable.data.dataset import UNLABELLED, Pixels


@dataclass(frozen=True)
class Scribbles(MaskStep):
    """An image without a scribble stays as it is."""

    name: ClassVar[str] = "scribbles"

    def apply(self, mask: Pixels, scene: Scene, classes: int) -> Pixels:
        return np.where(scene.scribble == UNLABELLED, mask, scene.scribble)
