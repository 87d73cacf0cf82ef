"""How long each config's steps take, and where that figure comes from: stated, measured here, remembered or assumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from search.planning.calibration import calibrated, remembered
from spaces.space import Point, Space
from trainable.config import STRIDE, Config
from trainable.data.dataset import auto_size, open_split
from trainable.errors import UserError
from trainable.machine.hardware import accelerators
from trainable.preflight.step_times import Shape, StepTime, shape_of
from trainable.storage.cached_copies import data_folder

# An estimate of an A100 from the network's arithmetic and memory traffic, not a measurement.
ASSUMED_SECONDS, ASSUMED_VOLUME = 0.016, 8 * 480 * 352
ASSUMED = (
    "from an estimate of an A100: 16 ms at batch 8, 480x352, efficientnet-b2, by batch x pixels, whatever the encoder",
    "--calibrate measures it, --step-seconds states it",
)
NO_GPU = "this machine has no GPU and takes far longer: --calibrate measures it, --step-seconds states another's"
FORWARD = 1 / 3  # of a step's time; the other two thirds go backward
LEVELS = get_args(Config.model_fields["augmentation"].annotation)


@dataclass(frozen=True)
class Images:
    """The images that are trained on; ``folder`` is None where they are not on this machine, and so assumed."""

    folder: Path | None
    count: int = 228
    size: tuple[int, int] = (480, 352)


@dataclass(frozen=True)
class Durations:
    """Seconds of one config's step and of one of its evaluations."""

    step: float
    evaluation: float


@dataclass(frozen=True)
class StepEstimates:
    """The pace of every config; ``told`` says the source to people, ``largest`` is the config that it names."""

    by_config: Mapping[str, Durations]
    source: str
    description: str
    largest: str
    notes: tuple[str, ...] = ()
    elsewhere: bool = False  # of a device that this machine does not have


def images_of(space: Space, points: Iterable[Point]) -> Images:
    """Count the images, and read their sizes where a config leaves its own to them."""
    folder = data_folder(str(space.settings.data))
    if not folder.is_dir():
        return Images(None)
    files, auto = open_split(folder), any(isinstance(point.config.size, str) for point in points)
    return Images(folder, len(files.stems), auto_size(files, STRIDE) if auto else Images.size)


def estimate_steps(space: Space, points: Sequence[Point], stated: float | None, calibrate: bool) -> StepEstimates:
    """Stated comes before measured, measured before remembered, remembered before assumed."""
    if stated is not None and not 0 < stated < float("inf"):
        raise UserError(f"--step-seconds {stated:g}: must be more than 0")
    if stated is not None and calibrate:
        raise UserError("--step-seconds states what --calibrate measures: give one of them")
    if not space.trainable.needs_data:
        return _scripted(points, stated, calibrate)
    images = images_of(space, points)
    shapes = _shapes(points, images)
    order = sorted(dict.fromkeys(shapes.values()), key=lambda shape: -shape.volume)
    largest = next(point.id for point in points if shapes[point.id] == order[0])
    held_out = images.count / space.settings.folds
    of = f"the largest config, {largest} ({order[0]})"
    known: dict[Shape, StepTime] = {}
    notes: list[str] = []
    elsewhere = False
    if stated is not None:
        source, known = "stated", {order[0]: StepTime(stated, 0.0, "")}
        description = f"stated: {duration(stated)} for {of}, evaluations included; others by batch x pixels"
    elif calibrate:
        configs = {shapes[point.id]: point.config for point in reversed(points)}
        device, known = calibrated(space, configs, order, images.folder)
        source, description = "measured here", f"measured here: {_measured(known, order, of, held_out)}, on {device}"
    elif order[0] in (known := remembered(space, order)):
        source, description = "remembered", f"remembered: {_measured(known, order, of, held_out)}, {known[order[0]].at}"
    else:
        source, known = "assumed", {order[0]: _assumed(order[0])}
        description = f"ASSUMED, not measured: {duration(known[order[0]].step_seconds)} for {of}"
        elsewhere = not accelerators()
        notes += (ASSUMED[0], NO_GPU) if elsewhere else ASSUMED
    if images.folder is None and stated is None:
        sizes = " of 480x352" if any(isinstance(point.config.size, str) for point in points) else ""
        notes.append(f"{space.settings.data} is not here: {images.count} images{sizes} are assumed")
    seconds = {shape: _scaled(shape, known, order[0]) for shape in order}
    of_config = {config: _pace(seconds[shape], held_out) for config, shape in shapes.items()}
    return StepEstimates(of_config, source, description, largest, tuple(notes), elsewhere)


def duration(seconds: float) -> str:
    """Three digits in a unit that people think in."""
    for size, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms" if seconds else "0 s"


def _scripted(points: Sequence[Point], stated: float | None, calibrate: bool) -> StepEstimates:
    if calibrate:
        raise UserError("--calibrate: a scripted fold trial has nothing to measure, its script says how long a step is")
    by_config = {point.id: Durations(_scripted_seconds(point) if stated is None else stated, 0.0) for point in points}
    largest = max(by_config, key=lambda config: by_config[config].step)
    by = "" if stated is not None else " by the script"
    description = f"stated{by}: {duration(by_config[largest].step)} at most, in config {largest}"
    return StepEstimates(by_config, "stated", description, largest)


def _scripted_seconds(point: Point) -> float:
    return float((point.config.model_extra or {}).get("step_seconds", 0.0))


def _shapes(points: Iterable[Point], images: Images) -> dict[str, Shape]:
    """By config; those that differ in augmentation alone count as the heaviest of them."""
    plain = {
        point.id: shape_of(
            point.config,
            images.size if isinstance(point.config.size, str) else point.config.size,
            point.config.augmentation,
        )
        for point in points
    }
    heaviest: dict[Shape, str] = {}
    for shape in plain.values():
        rest = replace(shape, augmentation="")
        heaviest[rest] = max(heaviest.get(rest, LEVELS[0]), shape.augmentation, key=LEVELS.index)
    return {id_: replace(shape, augmentation=heaviest[replace(shape, augmentation="")]) for id_, shape in plain.items()}


def _measured(known: Mapping[Shape, StepTime], order: Sequence[Shape], of: str, held_out: float) -> str:
    first = known[order[0]]
    evaluation = duration(held_out * first.image_seconds)
    rest = "" if len(known) == len(order) else f", {len(known)} of {len(order)} shapes, others by batch x pixels"
    return f"{duration(first.step_seconds)} for {of}, {evaluation} an evaluation{rest}"


def _assumed(shape: Shape) -> StepTime:
    step = ASSUMED_SECONDS * shape.volume / ASSUMED_VOLUME
    return StepTime(step, FORWARD * step / shape.batch_size, "")


def _scaled(shape: Shape, known: Mapping[Shape, StepTime], largest: Shape) -> StepTime:
    """What is known of this shape, or else of the nearest one with this network, or else of the largest."""
    alike = [other for other in known if (other.encoder, other.attention) == (shape.encoder, shape.attention)]
    near = min(alike or [largest], key=lambda other: abs(other.volume - shape.volume))
    pixels = (shape.width * shape.height) / (near.width * near.height)
    took = known[near]
    return StepTime(took.step_seconds * shape.volume / near.volume, took.image_seconds * pixels, took.at)


def _pace(took: StepTime, held_out: float) -> Durations:
    return Durations(took.step_seconds, took.image_seconds * held_out)
