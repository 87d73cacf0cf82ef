"""The loop of a stage: train an encoder without labels and yield after each epoch, interruptible and resumable.

The folder contains everything: called again, the loop resumes from its checkpoint, and on a CPU the weights are
bit-identical to those of an uninterrupted stage. Two processes may make the same product: each file is written
atomically, their checkpoints are states of the same stage, and the later one stops when it sees the product.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from trainable.config import Config
from trainable.errors import FoldFailed, UserError
from trainable.machine.device import is_out_of_memory, pick_device
from trainable.networks.weights_file import file_of, read_weights, source_of
from trainable.pretraining.dino import Signs
from trainable.pretraining.product import (
    CHECKPOINT,
    ENCODER,
    INPUTS,
    inputs_of,
    raise_failure,
    write_encoder,
    write_failure,
)
from trainable.pretraining.stage import Stage
from trainable.pretraining.unlabelled import Unlabelled
from trainable.storage.atomic_files import TEMPORARY, write_json
from trainable.storage.shared_file import SharedFile
from trainable.training import checkpoint

# Epochs in a row whose output says nothing about the image, all in the second half: in the first epochs this is usual,
# and a stage of fewer than ten is too short to tell.
PATIENCE = 5
OUT_OF_MEMORY = "out_of_memory"
OLD = 3600.0  # seconds after which no process is still writing a temporary file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """A complete epoch; ``seconds`` is the time that this process has spent on the stage."""

    number: int
    of: int
    signs: Signs
    seconds: float

    def __str__(self) -> str:
        return f"pre-training, epoch {self.number} of {self.of}: {self.signs}"


def pretrain(
    config: Config,
    images: Unlabelled,
    fold: int,
    folder: Path,
    *,
    weights_file: SharedFile | None = None,
    device: str = "auto",
    keep_going: Callable[[int], bool] = lambda step: True,
    checkpoint_seconds: float = 120.0,
) -> Iterator[Epoch]:
    """Make the product in its folder, resuming from a checkpoint; nothing is done if it exists.

    The stage is saved and ends early when the generator is closed, or when ``keep_going``, called after each step,
    returns False. Raises ``FoldFailed`` if it collapses, is not finite, or memory runs out.
    """
    raise_failure(folder)
    if (folder / ENCODER).exists():
        return
    try:
        with _memory_failures(device):
            place = pick_device(device)
        with _memory_failures(str(place)):
            stage = Stage(config, images, fold, place)
            file = file_of(config, weights_file)
            if file is not None:
                stage.start_from(read_weights(file), source_of(file))
            _prepare(stage, folder, file)
            yield from _train(stage, folder, keep_going, checkpoint_seconds)
    except FoldFailed as failure:
        if failure.reason == OUT_OF_MEMORY:  # which another device may have
            raise
        (folder / CHECKPOINT).unlink(missing_ok=True)  # of a stage that cannot be saved: another attempt starts again
        write_failure(folder, failure)
        raise


def first_steps(config: Config, images: Unlabelled, fold: int, device: torch.device, steps: int) -> None:
    """Take the first steps of a stage and keep nothing, to see what memory it takes."""
    with _memory_failures(str(device)):
        stage = Stage(config, images, fold, device)
        for _ in range(steps):
            stage.train_step()
        stage.sums.signs()


@contextmanager
def _memory_failures(device: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise FoldFailed(OUT_OF_MEMORY, f"out of memory on {device} in pre-training", 0) from error


def _prepare(stage: Stage, folder: Path, file: SharedFile | None) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_old_partial(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be used as a folder ({error.strerror})") from None
    write_json(folder / INPUTS, inputs_of(stage.config, stage.images, stage.fold, file))
    if (folder / CHECKPOINT).exists():
        try:
            stage.restore(checkpoint.load(folder / CHECKPOINT))
        except checkpoint.Damaged as error:
            log.warning("%s; the stage starts again", error)


def _train(stage: Stage, folder: Path, keep_going: Callable[[int], bool], checkpoint_seconds: float) -> Iterator[Epoch]:
    before, saved = stage.watch.seconds, (stage.step, time.monotonic())
    stage.watch.start()
    try:
        while stage.step < stage.steps:
            stage.train_step()
            if stage.step % stage.steps_per_epoch == 0:
                signs = _checked(stage)
                if stage.step == stage.steps:
                    write_encoder(folder, stage.encoder_weights())
                    (folder / CHECKPOINT).unlink(missing_ok=True)
                stage.watch.stop()
                yield Epoch(stage.epoch, stage.config.pretraining_epochs, signs, stage.watch.seconds - before)
                stage.watch.start()
                if (folder / ENCODER).exists():  # made here, or by another process
                    return
            if time.monotonic() - saved[1] > checkpoint_seconds:
                checkpoint.save(stage.state(), folder / CHECKPOINT)
                saved = (stage.step, time.monotonic())
            if not keep_going(stage.step):
                break
    except GeneratorExit:
        if saved[0] < stage.step < stage.steps:
            checkpoint.save(stage.state(), folder / CHECKPOINT)
        raise
    checkpoint.save(stage.state(), folder / CHECKPOINT)


def _checked(stage: Stage) -> Signs:
    """The signs of the epoch that has just ended; an unusable stage is a failure."""
    signs = stage.end_epoch()
    epochs = stage.config.pretraining_epochs
    if not signs.finite:
        raise FoldFailed("nan", f"the pre-training loss is {signs.loss} in epoch {stage.epoch}", 0)
    late = stage.signs[(epochs + 1) // 2 :][-PATIENCE:]
    if len(late) == PATIENCE and all(each.collapsed for each in late):
        change = "higher" if signs.sharp else "lower"
        raise FoldFailed(
            "collapsed",
            f"pre-training has collapsed by epoch {stage.epoch} of {epochs}: the teacher's output is the same for "
            f"every image ({signs}); try a {change} teacher_temperature, a higher teacher_momentum or a lower "
            "pretraining_learning_rate",
            0,
        )
    return signs


def _remove_old_partial(folder: Path) -> None:
    """Remove what killed writes left, but not what another process may be writing."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if time.time() - path.stat().st_mtime > OLD:
            path.unlink(missing_ok=True)
