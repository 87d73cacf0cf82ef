"""What a fold trial takes of a GPU's memory, and which of many configs take the most: values and arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from trainable.config import Config

GIB = 2**30


@dataclass(frozen=True)
class Card:
    """A GPU: what it is called and how many bytes it holds."""

    name: str
    memory: int


@dataclass(frozen=True)
class Footprint:
    """Bytes of a card that one fold trial takes at its peak.

    ``tensors`` are what torch reserved, and can be held to; ``context`` is what CUDA and its libraries take beside it.
    """

    tensors: int
    context: int
    card: Card

    @property
    def total(self) -> int:
        return self.tensors + self.context


@dataclass(frozen=True)
class Shape:
    """All of a config that decides how much memory it takes."""

    architecture: str
    encoder: str
    attention: str | None
    size: tuple[int, int]
    batch_size: int
    precision: str
    averaged: bool

    @property
    def kind(self) -> tuple[Any, ...]:
        """Networks of one kind grow alike with what they are fed."""
        return (self.architecture, self.encoder, self.attention)

    @property
    def load(self) -> tuple[int, bool]:
        """What a network of a kind is fed, in bytes of one channel; then whether there is a second network."""
        width, height = self.size
        return (self.batch_size * width * height * (4 if self.precision == "float32" else 2), self.averaged)

    def __str__(self) -> str:
        width, height = self.size
        return f"encoder {self.encoder}, batch_size {self.batch_size}, size {width}x{height}"


def shape_of(config: Config, size: tuple[int, int]) -> Shape:
    """``size`` is the working size, which a config may leave to the data."""
    return Shape(
        config.architecture, config.encoder, config.attention, size, config.batch_size, config.precision, config.ema > 0
    )


def heaviest(configs: Iterable[Config], size_of: Callable[[Config], tuple[int, int]], most: int) -> dict[Shape, Config]:
    """Of each kind the config that is fed the most; of more than ``most`` kinds those that are fed the most."""
    largest: dict[tuple[Any, ...], tuple[Shape, Config]] = {}
    for config in configs:
        shape = shape_of(config, size_of(config))
        if shape.kind not in largest or shape.load > largest[shape.kind][0].load:
            largest[shape.kind] = (shape, config)
    ordered = sorted(largest.values(), key=lambda pair: pair[0].load, reverse=True)
    return dict(ordered[:most])
