"""Measure the step times of a space's configs on this machine, or recall earlier measurements."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from spaces.space import Space
from trainable.config import Config
from trainable.errors import UserError
from trainable.machine.hardware import accelerators, cpu_name
from trainable.machine.isolated import fresh_processes
from trainable.preflight.step_times import Place, Shape, StepTime, place_of, recall, remember
from trainable.printing import progress_bar

MAX_SHAPES, MAX_SECONDS = 8, 60.0  # the first shape is always measured, the others within the time limit


def remembered(space: Space, shapes: Sequence[Shape]) -> dict[Shape, StepTime]:
    """Earlier measurements of these shapes on this machine's device."""
    return recall(place_here(space), shapes)


def place_here(space: Space) -> Place:
    """The device of fold trials on this machine, with their threads."""
    names = [] if device_of(space) == "cpu" else accelerators()
    return place_of((names or [cpu_name()])[0], threads_of(space))


def calibrated(
    space: Space, configs: Mapping[Shape, Config], order: Sequence[Shape], data: Path | None, most: int = MAX_SHAPES
) -> tuple[str, dict[Shape, StepTime]]:
    """The device and the step times measured on it, of so many shapes in this order within the time limit.

    A separate process measures them, because torch keeps memory of the GPU until its process ends.
    """
    times: dict[Shape, StepTime] = {}
    device, started, shapes = "", time.monotonic(), order[:most]
    settings, threads, own = space.settings, threads_of(space), device_of(space)
    with fresh_processes(1) as pool, progress_bar("measuring steps") as progress:
        for number, shape in enumerate(shapes):
            if times and time.monotonic() - started > MAX_SECONDS:
                break
            progress(number, len(shapes))
            config = configs[shape].model_copy(update={"augmentation": shape.augmentation})
            size = (shape.width, shape.height)
            task = pool.submit(_measure, config, size, data, settings.folds, settings.fold_seed, threads, own)
            try:
                device, times[shape] = task.result()
            except BrokenProcessPool:
                raise UserError(f"{shape}: the process that measured its steps was killed; out of memory?") from None
            remember(place_of(device, threads), shape, times[shape])
    return device, times


def _measure(
    config: Config, size: tuple[int, int], data: Path | None, folds: int, fold_seed: int, threads: int, device: str
) -> tuple[str, StepTime]:
    from trainable.preflight.calibration import measure  # only the measuring process loads torch

    return measure(config, size, data, folds, fold_seed, threads, device)


def device_of(space: Space) -> str:
    """Fold trials without a share of a GPU do not see it; the others use it if there is one."""
    return "cpu" if space.settings.resources.gpu == 0 else "auto"


def threads_of(space: Space) -> int:
    """The threads that launch gives a fold trial."""
    cpu = space.settings.resources.cpu
    return 1 if isinstance(cpu, str) else max(1, int(cpu))
