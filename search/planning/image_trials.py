"""Launching and planning of fold trials that segment single images: labels, data, time per image, memory."""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import date

from search.planning.calibration import MAX_SECONDS, MAX_SHAPES, device_of, place_here, threads_of
from search.planning.files import fold_models
from search.planning.fold_trials import download
from search.planning.gpu_memory import memory_candidates
from search.planning.label_check import fold_problems, incomparable, metric_problems, split_here
from search.planning.step_seconds import Durations, StepEstimates, check_options, duration
from spaces.space import Point, Space
from trainable.config import ImageConfig
from trainable.data.folds import folds_of
from trainable.data.image_files import ImageFiles, open_files
from trainable.data.labelled import Labelled
from trainable.data.shipment import Shipment
from trainable.errors import UserError
from trainable.images.check import check_images
from trainable.machine.isolated import in_fresh_process
from trainable.machine.memory_footprint import Footprint
from trainable.preflight.image_networks import check_pretrained
from trainable.preflight.step_times import FEWEST_IMAGES, Segmented, StepTime, place_of, recall, remember
from trainable.printing import progress_bar
from trainable.storage.cached_copies import data_folder
from trainable.storage.shared_file import SharedFile

ASSUMED_SECONDS, ASSUMED_IMAGES = 1.0, 228


def check_image_space(space: Space, configs: Iterable[ImageConfig]) -> list[str]:
    """Raise one error for all mistakes, and return warnings; data on another machine are not checked."""
    split = split_here(space)
    if split is None:
        return []
    problems = [*metric_problems(space, split), *fold_problems(space, split)]
    for config in {(config.method, config.inputs): config for config in configs}.values():
        try:
            check_images(config, split, space.settings.validation)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return list(dict.fromkeys(incomparable(space, split)))


def open_image_data(space: Space) -> Labelled:
    return open_files(data_folder(str(space.settings.data)))


def check_image_models(space: Space, data: Labelled, weights: Mapping[str, SharedFile]) -> None:
    """Raise an error if a network of other images cannot be built, or has seen the images that it is used on."""
    folds = folds_of(data, space.settings.folds, space.settings.fold_seed)
    check_pretrained(memory_candidates(space), fold_models(space), folds, data, weights)


def fetch_image_weights(space: Space) -> None:
    """Download pretrained weights before the first trial needs them."""
    networks = (config.network for config in memory_candidates(space))
    download(network for network in networks if network is not None)


def estimate_images(space: Space, points: Sequence[Point], stated: float | None, calibrate: int) -> StepEstimates:
    """Stated times take precedence over measured ones, then remembered ones, then assumed ones."""
    check_options(stated, calibrate)
    folder = data_folder(str(space.settings.data))
    files = open_files(folder) if folder.is_dir() else None
    held_out = (len(files.stems) if files else ASSUMED_IMAGES) / space.settings.folds
    notes = [] if files else [f"{space.settings.data} is not on this machine: {ASSUMED_IMAGES} images are assumed"]
    if stated is not None:
        seconds = {point.id: stated * point.config.steps / held_out for point in points}
        source, description = "stated", f"stated: {duration(stated)} per step"
    elif calibrate:
        if files is None:
            raise UserError(f"--calibrate: {space.settings.data} is not on this machine, so no image can be timed")
        device, seconds = _measured(space, points, files)
        source = "measured here"
        most = max(seconds.values())
        description = f"measured here: up to {duration(most)} per image, {held_out:.0f} images a fold, on {device}"
    elif files is not None and (known := _remembered(space, points, files)):
        day, seconds = known
        source = "remembered"
        most = max(seconds.values())
        description = f"remembered: up to {duration(most)} per image, {held_out:.0f} images a fold, {day}"
    else:
        seconds = {point.id: ASSUMED_SECONDS for point in points}
        source, description = "assumed", f"ASSUMED, not measured: {duration(ASSUMED_SECONDS)} per image of every method"
        notes.append("--calibrate measures it, --step-seconds sets that of a step, an equal share of a fold")
    by_config = {point.id: Durations(seconds[point.id] * held_out / point.config.steps, 0.0) for point in points}
    largest = max(seconds, key=lambda config: seconds[config])
    return StepEstimates(by_config, source, f"{description}; the slowest is config {largest}", largest, tuple(notes))


def _measured(space: Space, points: Sequence[Point], files: ImageFiles) -> tuple[str, dict[str, float]]:
    """Seconds per image of a few configs of every method in turn; the others take as long as their method's mean."""
    from trainable.preflight.image_probe import time_images  # late: only the measuring process needs torch

    folder, started, device = files.split.root.parent, time.monotonic(), ""
    found: dict[str, float] = {}
    by_method = _by_method(points)
    with progress_bar("measuring images") as progress:
        for number, point in enumerate(chosen := _in_turn(by_method, MAX_SHAPES)):
            if found and time.monotonic() - started > MAX_SECONDS:
                break
            progress(number, len(chosen))
            try:
                device, found[point.id] = in_fresh_process(
                    time_images, point.config, folder, threads_of(space), device_of(space)
                )
            except BrokenProcessPool:
                raise UserError(f"{point.id}: the process that timed it was killed; out of memory?") from None
            took = StepTime(0.0, found[point.id], date.today().isoformat())
            remember(place_of(device, threads_of(space)), _segmented(point, files), took)
    return device, _by_mean(by_method, found)


def _remembered(space: Space, points: Sequence[Point], files: ImageFiles) -> tuple[str, dict[str, float]] | None:
    """The date and the seconds per image of earlier measurements, if there is one of every method."""
    keys = {point.id: _segmented(point, files) for point in points}
    times = recall(place_here(space), keys.values())
    found = {point: times[key].image_seconds for point, key in keys.items() if key in times}
    by_method = _by_method(points)
    if not all(any(point.id in found for point in own) for own in by_method.values()):
        return None
    return max(took.at for took in times.values()), _by_mean(by_method, found)


def _segmented(point: Point, files: ImageFiles) -> Segmented:
    sizes = ", ".join("{}x{}".format(*files.size(stem)) for stem in files.stems[:FEWEST_IMAGES])
    return Segmented(point.id, sizes, len(files.task.classes))


def _by_mean(by_method: Mapping[str, Sequence[Point]], found: Mapping[str, float]) -> dict[str, float]:
    """The times found, and for other configs the mean of those of their method, or else of all."""
    seconds = dict(found)
    for own in by_method.values():
        known = [found[point.id] for point in own if point.id in found] or list(found.values())
        for point in own:
            seconds.setdefault(point.id, sum(known) / len(known))
    return seconds


def _by_method(points: Sequence[Point]) -> Mapping[str, list[Point]]:
    methods = dict.fromkeys(point.config.method for point in points)
    return {method: [point for point in points if point.config.method == method] for method in methods}


def _in_turn(by_method: Mapping[str, list[Point]], most: int) -> list[Point]:
    """The first config of every method, then the second of each, and so on."""
    longest = max(map(len, by_method.values()))
    return [own[rank] for rank in range(longest) for own in by_method.values() if rank < len(own)][:most]


def image_footprint(space: Space, shipment: Shipment) -> Footprint:
    """The largest GPU memory of a few configs of every method."""
    from trainable.preflight.image_probe import measure_images
    from trainable.preflight.memory_probe import MOST, card_here, fresh_process

    card = fresh_process(card_here)
    by_method: dict[str, list[ImageConfig]] = {}
    for config in memory_candidates(space):
        by_method.setdefault(config.method, []).append(config)
    each = max(1, MOST // len(by_method))
    chosen = [config for own in by_method.values() for config in own[-each:]]
    weights = {name: replace(file, path=file.place(), fetch=None) for name, file in shipment.weights.items()}
    found = [fresh_process(measure_images, config, card, shipment.place(), weights) for config in chosen]
    return max(found, key=lambda footprint: footprint.total)
