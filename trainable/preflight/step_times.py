"""Measured times of training steps and of images, cached with the decoded images, and what they depend on."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, TypeVar

from trainable.config import SCRIBBLED, SUPERVISED, Config, Network, as_written, network_name
from trainable.storage.atomic_files import cache_folder, write_json

FILE, VERSION = "step_times.json", 1
FEWEST_IMAGES = 3  # that a method is timed on, in whole batches


@dataclass(frozen=True)
class Shape:
    """The part of a config that determines the time of its steps."""

    network: Network
    width: int
    height: int
    batch_size: int
    precision: str
    augmentation: str
    acceleration: str = "auto"
    inputs: str = SCRIBBLED
    classes: int = 2
    recipe: str = SUPERVISED
    crf_radius: int = 0  # without a CRF

    @property
    def volume(self) -> int:
        """Pixels per step."""
        return self.batch_size * self.width * self.height

    def __str__(self) -> str:
        recipe = "" if self.recipe == SUPERVISED else f", {self.recipe}"
        crf = f", CRF of radius {self.crf_radius}" if self.crf_radius else ""
        return f"batch {self.batch_size} at {self.width}x{self.height}, {network_name(self.network)}{recipe}{crf}"


@dataclass(frozen=True)
class Segmented:
    """What determines the time per image of a method: the id of its config, and the images."""

    config: str
    sizes: str  # of the images that are timed
    classes: int


Timed = TypeVar("Timed", Shape, Segmented)


@dataclass(frozen=True)
class Place:
    """Where steps run: the device, the threads of a fold trial, and the version of torch."""

    device: str
    threads: int
    torch: str


@dataclass(frozen=True)
class StepTime:
    """Seconds per training step, and per image in an evaluation; ``at`` is the date of the measurement."""

    step_seconds: float
    image_seconds: float
    at: str


def shape_of(config: Config, size: tuple[int, int], augmentation: str, classes: int = 2) -> Shape:
    return Shape(
        config.network,
        *size,
        config.batch_size,
        config.precision,
        augmentation,
        config.acceleration,
        config.inputs,
        classes,
        config.recipe,
        config.crf_radius if config.lambda_crf else 0,
    )


def place_of(device: str, threads: int) -> Place:
    return Place(device, threads, version("torch"))


def recall(place: Place, shapes: Iterable[Timed]) -> dict[Timed, StepTime]:
    """The measurements for this place; a damaged file counts as empty and is replaced by the next measurement."""
    known = {json.dumps(entry["of"], sort_keys=True): entry["took"] for entry in _read()}
    found = {shape: known.get(json.dumps(_key(place, shape), sort_keys=True)) for shape in shapes}
    return {shape: StepTime(**took) for shape, took in found.items() if took is not None}


def remember(place: Place, shape: Shape | Segmented, took: StepTime) -> None:
    key = _key(place, shape)
    entries = [entry for entry in _read() if entry["of"] != key]
    write_json(cache_folder() / FILE, {"version": VERSION, "entries": [*entries, {"of": key, "took": asdict(took)}]})


def _key(place: Place, shape: Shape | Segmented) -> dict[str, Any]:
    """Written as the first version did where that is possible, so that older measurements are found."""
    if isinstance(shape, Segmented):
        return asdict(place) | asdict(shape)
    facts, own = asdict(shape), {name: as_written(name, value) for name, value in shape.network}
    del facts["network"]
    first = {name: own.pop(name) for name in ("architecture", "encoder", "attention") if name in own}
    usual = {"inputs": SCRIBBLED, "classes": 2, "recipe": SUPERVISED, "crf_radius": 0, "own": {}}
    return asdict(place) | first | {k: value for k, value in (facts | {"own": own}).items() if usual.get(k) != value}


def _read() -> Sequence[Any]:
    try:
        document = json.loads((cache_folder() / FILE).read_text())
        entries = document["entries"] if document["version"] == VERSION else []
        return [entry for entry in entries if isinstance(entry["of"], dict) and StepTime(**entry["took"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []
