"""What a step of post-processing sees, and what it returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from trainable.data.dataset import Pixels

Maps = npt.NDArray[np.float32]  # (K, H, W), probabilities of the K classes


@dataclass(frozen=True)
class Scene:
    """The image (H, W, C) in bytes, and its scribble (H, W) with a class per pixel or ``UNLABELLED``."""

    image: Pixels
    scribble: Pixels
    device: torch.device = torch.device("cpu")  # noqa: RUF009  devices are immutable


class MapStep:
    """Changes probabilities. A subclass is a frozen dataclass of its hyperparameters."""

    name: ClassVar[str]

    def apply(self, maps: Maps, scene: Scene) -> Maps:
        raise NotImplementedError

    @classmethod
    def apply_each(cls, steps: Sequence[Self], maps: Maps, scene: Scene) -> Iterator[Maps]:
        """The result of each of several settings, in their order; override it where they can share work."""
        for step in steps:
            yield step.apply(maps, scene)


class Decision:
    """Makes a mask of probabilities."""

    name: ClassVar[str]

    def decide(self, maps: Maps) -> Pixels:
        raise NotImplementedError


class MaskStep:
    """Changes a mask of ``classes`` classes."""

    name: ClassVar[str]

    def apply(self, mask: Pixels, scene: Scene, classes: int) -> Pixels:
        raise NotImplementedError


Step = MapStep | Decision | MaskStep
