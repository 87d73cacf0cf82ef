"""The GPU memory of a fold trial, and which configs of a space need the most; no measurement."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from trainable.config import SCRIBBLED, SUPERVISED, Config, Network, network_name

GIB = 2**30


@dataclass(frozen=True)
class Card:
    """A GPU: its name and its memory in bytes."""

    name: str
    memory: int


@dataclass(frozen=True)
class Footprint:
    """Peak GPU memory of one fold trial in bytes.

    ``tensors`` is what torch reserves, which can be limited; ``context`` is what CUDA's libraries use in addition.
    """

    tensors: int
    context: int
    card: Card

    @property
    def total(self) -> int:
        return self.tensors + self.context


@dataclass(frozen=True)
class Shape:
    """The part of a config that determines its memory."""

    network: Network
    size: tuple[int, int]
    batch_size: int
    precision: str
    averaged: bool
    acceleration: str = "auto"
    inputs: str = SCRIBBLED
    classes: int = 2
    pretraining: tuple[int, int, int] | None = None  # batch, small views and projection of the stage before
    recipe: str = SUPERVISED

    @property
    def kind(self) -> tuple[Any, ...]:
        """Configs of one kind have the same network, stage and recipe, so their memory grows with the batch alone."""
        return (self.network, self.inputs, self.pretraining, self.recipe)

    @property
    def load(self) -> tuple[int, bool]:
        """The size of a batch, in bytes of one channel; then whether averaged weights are kept."""
        width, height = self.size
        return (self.batch_size * width * height * (4 if self.precision == "float32" else 2), self.averaged)

    def __str__(self) -> str:
        width, height = self.size
        text = f"{network_name(self.network)}, batch_size {self.batch_size}, size {width}x{height}"
        text += "" if self.pretraining is None else f", pretraining_batch_size {self.pretraining[0]}"
        return text if self.recipe == SUPERVISED else f"{text}, recipe {self.recipe}"


def shape_of(config: Config, size: tuple[int, int], classes: int = 2) -> Shape:
    """``size`` is the working size, since a config may say "auto"."""
    return Shape(
        config.network,
        size,
        config.batch_size,
        config.precision,
        config.ema > 0,
        config.acceleration,
        config.inputs,
        classes,
        None
        if config.pretraining == "none"
        else (config.pretraining_batch_size, config.local_crops, config.projection_size),
        config.recipe,
    )


def heaviest(
    configs: Iterable[Config], size_of: Callable[[Config], tuple[int, int]], most: int, classes: int = 2
) -> dict[Shape, Config]:
    """The config with the largest batches of each kind, for at most ``most`` kinds."""
    largest: dict[tuple[Any, ...], tuple[Shape, Config]] = {}
    for config in configs:
        shape = shape_of(config, size_of(config), classes)
        if shape.kind not in largest or shape.load > largest[shape.kind][0].load:
            largest[shape.kind] = (shape, config)
    ordered = sorted(largest.values(), key=lambda pair: pair[0].load, reverse=True)
    return dict(ordered[:most])
