"""Times a few real steps and an evaluation of a config on this machine, with the fold loop's own parts.

The time of a step does not depend on the content of images, so generated ones are used if the data are elsewhere.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import torch

from trainable.augmentation.batches import PREFETCHED, default_workers, training_batches
from trainable.config import Config, network_name
from trainable.data.decoded_images import Data, open_data
from trainable.data.folds import folds_of
from trainable.data.synthetic.synthesize import SIDES, synthesize
from trainable.errors import UserError
from trainable.machine.device import is_out_of_memory, pick_device
from trainable.machine.hardware import cpu_name
from trainable.preflight.step_times import StepTime
from trainable.training.evaluate import evaluate
from trainable.training.trial import FoldTrial

WARMUP = 2
FEWEST, MOST, SECONDS = 3, 300, 2.0
ENDLESS = 1_000_000


def measure(
    config: Config, size: tuple[int, int], data: Path | None, folds: int, fold_seed: int, threads: int, device: str
) -> tuple[str, StepTime]:
    """The device's name, and the time of a step and of an evaluation on it with this number of threads."""
    torch.set_num_threads(threads)
    place = pick_device(device)
    # Pretrained weights do not change the time, and the horizon must not end during the measurement.
    config = config.without_weights().model_copy(update={"steps": ENDLESS, "size": size})
    try:
        with _opened(config, size, data, folds) as opened:
            trial = FoldTrial(config, opened, folds_of(opened, folds, fold_seed), 0, place)
            step, image = _step_seconds(trial, threads), _image_seconds(trial)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        shape = f"batch {config.batch_size} at {size[0]}x{size[1]}"
        raise UserError(f"{network_name(config.network)}, {shape}: does not fit in the memory of {place}") from error
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else cpu_name()
    return name, StepTime(step, image, date.today().isoformat())


def _step_seconds(trial: FoldTrial, threads: int) -> float:
    """The mean of consecutive steps, including waiting for input and device, with a fold trial's input pipeline."""
    workers = min(threads, default_workers(trial.device))
    batches = training_batches(trial.stream, 0, ENDLESS, trial.device, workers)
    for _ in range(WARMUP + PREFETCHED * workers):  # until the prefetched batches are used up
        trial.train_step(*next(batches))
    began, count = _now(trial.device), 0
    while count < FEWEST or (count < MOST and time.perf_counter() - began < SECONDS):
        trial.train_step(*next(batches))
        count += 1
    return (_now(trial.device) - began) / count


def _image_seconds(trial: FoldTrial) -> float:
    """The evaluation time per held-out image, from one or two batches."""
    images = trial.held_out[: 2 * trial.config.batch_size]
    for _ in range(2):  # the first is a warm-up with the same shapes: a GPU selects algorithms per shape
        began = _now(trial.device)
        evaluate(trial.ema.network, trial.data, images, trial.config, trial.device, trial.autocast, trial.class_weights)
    return (_now(trial.device) - began) / len(images)


def _now(device: torch.device) -> float:
    """The time after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def _opened(config: Config, size: tuple[int, int], data: Path | None, folds: int) -> Iterator[Data]:
    """The data if they are here; otherwise enough generated images for a full batch in every fold.

    Generated images have two classes, or as many as the config has weights for.
    """
    if data is not None:
        yield open_data(data, size)
        return
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch:
        folder = Path(scratch) / "data"
        width, height = (max(SIDES[0], side) for side in size)
        classes = 2 if config.class_weights is None else len(config.class_weights)
        synthesize(folder, max(2 * config.batch_size + 2, folds), 0, width, height, seed=0, classes=classes)
        yield open_data(folder, size, cache=Path(scratch) / "cache")
