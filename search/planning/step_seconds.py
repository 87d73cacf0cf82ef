"""How long the steps of each config take, and the source of that estimate: stated, measured, remembered or assumed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search.planning.calibration import calibrated, remembered
from spaces.space import Point, Space
from trainable.config import STRIDE
from trainable.data.dataset import auto_size, open_split
from trainable.errors import UserError
from trainable.machine.hardware import accelerators
from trainable.preflight.step_times import Shape, StepTime, shape_of
from trainable.storage.cached_copies import data_folder

# An estimate for an A100 from the network's arithmetic and memory traffic, not a measurement.
ASSUMED_SECONDS, ASSUMED_VOLUME = 0.016, 8 * 480 * 352
ASSUMED = (
    "an estimate for an A100: 16 ms at batch 8, 480x352, scaled by batch x pixels, the same for every network",
    "--calibrate measures it, --step-seconds sets it",
)
NO_GPU = "this machine has no GPU and is much slower: --calibrate measures it, --step-seconds sets it"
FORWARD = 1 / 3  # of the time of a step; the backward pass takes the rest
# By the time per sample on one core, measured at 480x352 and 160x128 (benchmarks/profile_fold.py).
AUGMENTATIONS = ("none", "contrastive", "low", "medium", "high", "textbook")


@dataclass(frozen=True)
class Images:
    """The images of the space; ``folder`` is None if they are not on this machine, and count and size are assumed."""

    folder: Path | None
    count: int = 228
    size: tuple[int, int] = (480, 352)
    classes: int = 2


@dataclass(frozen=True)
class Durations:
    """Seconds of one config's step and of one of its evaluations."""

    step: float
    evaluation: float


@dataclass(frozen=True)
class StepEstimates:
    """The durations of every config; ``description`` states their source and names ``largest``, the largest config."""

    by_config: Mapping[str, Durations]
    source: str
    description: str
    largest: str
    notes: tuple[str, ...] = ()
    elsewhere: bool = False  # for a device that this machine does not have


def images_of(space: Space, points: Iterable[Point]) -> Images:
    """Count the images, and read their sizes if a config takes its size from them."""
    folder = data_folder(str(space.settings.data))
    if not folder.is_dir():
        return Images(None)
    files, auto = open_split(folder), any(isinstance(point.config.size, str) for point in points)
    size = auto_size(files, STRIDE) if auto else Images.size
    return Images(folder, len(files.stems), size, len(files.task.classes))


def estimate_steps(space: Space, points: Sequence[Point], stated: float | None, calibrate: int) -> StepEstimates:
    """Stated times take precedence over measured ones, then remembered ones, then assumed ones.

    ``calibrate`` is the number of shapes to measure at most.
    """
    check_options(stated, calibrate)
    if not space.trainable.needs_data:
        return _scripted(points, stated, calibrate)
    images = images_of(space, points)
    shapes = _shapes(points, images)
    order = sorted(dict.fromkeys(shapes.values()), key=lambda shape: -shape.volume)
    largest = next(point.id for point in points if shapes[point.id] == order[0])
    held_out = images.count / space.settings.folds
    subject = f"the largest config, {largest} ({order[0]})"
    times: dict[Shape, StepTime] = {}
    notes: list[str] = []
    elsewhere = False
    if stated is not None:
        source, times = "stated", {order[0]: StepTime(stated, 0.0, "")}
        description = f"stated: {duration(stated)} for {subject}, evaluations included; others by batch x pixels"
    elif calibrate:
        configs = {shapes[point.id]: point.config for point in reversed(points)}
        device, times = calibrated(space, configs, order, images.folder, calibrate)
        source = "measured here"
        description = f"measured here: {_measured(times, order, subject, held_out)}, on {device}"
    elif order[0] in (times := remembered(space, order)):
        source = "remembered"
        description = f"remembered: {_measured(times, order, subject, held_out)}, {times[order[0]].at}"
    else:
        source, times = "assumed", {order[0]: _assumed(order[0])}
        description = f"ASSUMED, not measured: {duration(times[order[0]].step_seconds)} for {subject}"
        elsewhere = not accelerators()
        notes += (ASSUMED[0], NO_GPU) if elsewhere else ASSUMED
    if images.folder is None and stated is None:
        sizes = " of 480x352" if any(isinstance(point.config.size, str) for point in points) else ""
        notes.append(f"{space.settings.data} is not on this machine: {images.count} images{sizes} are assumed")
    seconds = {shape: _scaled(shape, times, order[0]) for shape in order}
    by_config = {config: _durations(seconds[shape], held_out) for config, shape in shapes.items()}
    return StepEstimates(by_config, source, description, largest, tuple(notes), elsewhere)


def check_options(stated: float | None, calibrate: int) -> None:
    if stated is not None and not 0 < stated < float("inf"):
        raise UserError(f"--step-seconds {stated:g}: must be more than 0")
    if stated is not None and calibrate:
        raise UserError("--step-seconds and --calibrate exclude each other: use one of them")


def duration(seconds: float) -> str:
    """Three significant digits in a readable unit."""
    for size, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms" if seconds else "0 s"


def _scripted(points: Sequence[Point], stated: float | None, calibrate: int) -> StepEstimates:
    if calibrate:
        raise UserError("--calibrate: nothing to measure, the script of a scripted fold trial sets its step time")
    by_config = {point.id: Durations(_scripted_seconds(point) if stated is None else stated, 0.0) for point in points}
    largest = max(by_config, key=lambda config: by_config[config].step)
    by = "" if stated is not None else " by the script"
    description = f"stated{by}: {duration(by_config[largest].step)} at most, in config {largest}"
    return StepEstimates(by_config, "stated", description, largest)


def _scripted_seconds(point: Point) -> float:
    return float((point.config.model_extra or {}).get("step_seconds", 0.0))


def _shapes(points: Iterable[Point], images: Images) -> dict[str, Shape]:
    """The shape of each config; configs that differ only in augmentation get the slowest of them."""
    shapes = {
        point.id: shape_of(
            point.config,
            images.size if isinstance(point.config.size, str) else point.config.size,
            point.config.augmentation,
            images.classes,
        )
        for point in points
    }
    heaviest: dict[Shape, str] = {}
    for shape in shapes.values():
        key = replace(shape, augmentation="")
        heaviest[key] = max(heaviest.get(key, AUGMENTATIONS[0]), shape.augmentation, key=AUGMENTATIONS.index)
    return {
        id_: replace(shape, augmentation=heaviest[replace(shape, augmentation="")]) for id_, shape in shapes.items()
    }


def _measured(times: Mapping[Shape, StepTime], order: Sequence[Shape], subject: str, held_out: float) -> str:
    first = times[order[0]]
    evaluation = duration(held_out * first.image_seconds)
    rest = (
        ""
        if len(times) == len(order)
        else f", {len(times)} of {len(order)} shapes, the others scaled by batch x pixels"
    )
    return f"{duration(first.step_seconds)} for {subject}, {evaluation} per evaluation{rest}"


def _assumed(shape: Shape) -> StepTime:
    step = ASSUMED_SECONDS * shape.volume / ASSUMED_VOLUME
    return StepTime(step, FORWARD * step / shape.batch_size, "")


def _scaled(shape: Shape, times: Mapping[Shape, StepTime], largest: Shape) -> StepTime:
    """The time of this shape, or scaled from the nearest shape with the same network, or else from the largest."""
    same_network = [other for other in times if other.network == shape.network]
    nearest = min(same_network or [largest], key=lambda other: abs(other.volume - shape.volume))
    pixels = (shape.width * shape.height) / (nearest.width * nearest.height)
    time = times[nearest]
    return StepTime(time.step_seconds * shape.volume / nearest.volume, time.image_seconds * pixels, time.at)


def _durations(time: StepTime, held_out: float) -> Durations:
    return Durations(time.step_seconds, time.image_seconds * held_out)
