"""From probabilities to a mask: a threshold of two classes, a weight for each of more."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.refinement.steps.step import Decision, Maps
from trainable.data.dataset import Pixels


@dataclass(frozen=True)
class Threshold(Decision):
    """Foreground is where its probability is above ``tau``."""

    name: ClassVar[str] = "threshold"
    tau: float

    def decide(self, maps: Maps) -> Pixels:
        return np.asarray(maps[1] > self.tau).astype(np.uint8)


@dataclass(frozen=True)
class ClassWeights(Decision):
    """The class whose probability times its weight is largest."""

    name: ClassVar[str] = "class_weights"
    weights: tuple[float, ...]

    def decide(self, maps: Maps) -> Pixels:
        weights = np.array(self.weights, np.float32)[:, None, None]
        return np.asarray((maps * weights).argmax(axis=0)).astype(np.uint8)
