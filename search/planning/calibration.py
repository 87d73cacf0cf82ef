"""Measure the steps of a space's configs on this machine, or recall what was measured before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from spaces.space import Space
from trainable.config import Config
from trainable.errors import UserError
from trainable.machine.hardware import accelerators, cpu_name
from trainable.preflight.step_times import Shape, StepTime, place_of, recall, remember
from trainable.printing import progress_bar

MOST_SHAPES, MOST_SECONDS = 8, 60.0  # the first is measured whatever it takes, the others while there is time


def remembered(space: Space, shapes: Sequence[Shape]) -> dict[Shape, StepTime]:
    """What was measured of these shapes on this machine's device."""
    names = accelerators() or [cpu_name()]
    return recall(place_of(names[0], _threads(space)), shapes)


def calibrated(
    space: Space, configs: Mapping[Shape, Config], order: Sequence[Shape], data: Path | None
) -> tuple[str, dict[Shape, StepTime]]:
    """The device, and what steps take there: of the first shape, and of as many others as there is time for.

    They are measured in a process of its own: torch takes memory on a GPU until its process ends, and a run needs it.
    """
    known: dict[Shape, StepTime] = {}
    device, began, wanted = "", time.monotonic(), order[:MOST_SHAPES]
    settings, threads = space.settings, _threads(space)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, progress_bar("measuring steps") as progress:
        for place, shape in enumerate(wanted):
            if known and time.monotonic() - began > MOST_SECONDS:
                break
            progress(place, len(wanted))
            config = configs[shape].model_copy(update={"augmentation": shape.augmentation})
            size = (shape.width, shape.height)
            task = pool.submit(_measure, config, size, data, settings.folds, settings.fold_seed, threads)
            try:
                device, known[shape] = task.result()
            except BrokenProcessPool:
                raise UserError(f"{shape}: the process that measured its steps was killed; out of memory?") from None
            remember(place_of(device, threads), shape, known[shape])
    return device, known


def _measure(
    config: Config, size: tuple[int, int], data: Path | None, folds: int, fold_seed: int, threads: int
) -> tuple[str, StepTime]:
    from trainable.preflight.calibration import measure  # late, so that only the process that measures loads torch

    return measure(config, size, data, folds, fold_seed, threads)


def _threads(space: Space) -> int:
    """What launch gives a fold trial."""
    cpu = space.settings.resources.cpu
    return 1 if isinstance(cpu, str) else max(1, int(cpu))
