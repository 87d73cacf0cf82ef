"""The fold loop: train one fold of one config and yield a report per evaluation.

    config = make_config({"encoder": "resnet18", "steps": 500})
    data = open_data(Path("data"), config.size)
    folds = folds_of(data, 5, seed=0)
    for report in train_fold(config, data, folds, fold=0, folder=Path("out")):
        print(report.step, report.scores["miou"])

The folder contains everything: called again with the same arguments, the loop resumes from the newest checkpoint, and
on a CPU the weights, scores and reports are bit-identical to those of an uninterrupted run.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from trainable.augmentation.batches import SHARED_MEMORY, default_workers, training_batches, workers_that_fit
from trainable.config import Config
from trainable.data.decoded_images import Data
from trainable.data.folds import Folds
from trainable.errors import FoldFailed, UserError
from trainable.machine.device import is_out_of_memory, pick_device
from trainable.networks.weights_file import file_of, read_weights, source_of
from trainable.objectives.metrics import SELECTION
from trainable.printing import digits
from trainable.storage.atomic_files import write_text
from trainable.storage.checked_json import append_record, read_lines, text_of
from trainable.storage.shared_file import SharedFile
from trainable.training import checkpoint
from trainable.training.finish import add_results, resumable, write_results
from trainable.training.fold_folder import METRICS_FILE, prepare, write_failure
from trainable.training.fold_log import note
from trainable.training.report import Report
from trainable.training.trial import FoldTrial


def train_fold(
    config: Config,
    data: Data,
    folds: Folds,
    fold: int,
    folder: Path,
    *,
    metric: str = SELECTION,
    until: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    keep_going: Callable[[int], bool] = lambda step: True,
    checkpoint_seconds: float = 120.0,
    keep_probabilities: bool = False,
    validation: Data | None = None,
    encoder: Mapping[str, Tensor] | None = None,
    weights_file: SharedFile | None = None,
    once: bool = False,
    gpus: float = 1.0,
) -> Iterator[Report]:
    """Train until step ``until`` (default: the horizon), resuming from the folder's checkpoint if there is one.

    ``metric`` decides early stopping and the best weights; all metrics are reported. The first report after resuming
    repeats the last one before the checkpoint. Training is saved and ends at ``until``, when the generator is closed,
    or when ``keep_going``, called after each step, returns False. A finished model is also scored on the split
    ``validation``; a fold that finished before is, too, and gets its probabilities. A fold without a checkpoint starts
    from ``encoder``, which pre-training made, or from the file of weights that the config names; ``weights_file`` is
    this file where it has been opened already. With ``once``, the folder has no second copy of any weights when this
    ends: ``last.pt`` of a finished fold has none, and a paused one has no previous checkpoint. ``gpus`` is the share of
    a GPU that reports record. Raises ``FoldFailed`` if the loss is not finite or memory runs out, after writing the
    reason to ``error.json``.
    """
    prepare(folder)
    trial: FoldTrial | None = None
    where = device
    try:
        place = pick_device(device)
        where = str(place)
        trial = FoldTrial(config, data, folds, fold, place, metric)
        trial.gpus = gpus
        _begin(trial, folder, encoder, weights_file)
        note(folder, f"config {config.id} fold {fold} on {place}, from step {trial.step} of {config.steps}")
        if trial.finished:
            add_results(trial, folder, keep_probabilities, validation)
        if trial.report is not None:
            yield trial.report
        if not trial.finished:
            finish = partial(write_results, keep_probabilities=keep_probabilities, validation=validation)
            yield from _train(trial, folder, until, workers, keep_going, checkpoint_seconds, finish, once)
    except FoldFailed as failed:
        write_failure(folder, failed)
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        step = trial.step if trial else 0
        failure = FoldFailed("out_of_memory", f"out of memory on {where} after step {step}", step)
        write_failure(folder, failure)
        raise failure from error


def _begin(
    trial: FoldTrial, folder: Path, encoder: Mapping[str, Tensor] | None, weights_file: SharedFile | None
) -> None:
    """Restore the folder's checkpoint, or give the encoder the weights that the config asks for."""
    config = trial.config
    state = resumable(folder)
    if state is not None:
        trial.restore(state, folder / checkpoint.LAST)
    elif encoder is not None:
        trial.start_from(encoder)
    elif config.pretraining != "none":
        raise UserError(f"pretraining = {config.pretraining}: this fold has no pre-trained encoder to start from")
    elif file := file_of(config, weights_file):
        trial.start_from(read_weights(file), source_of(file))
        note(folder, f"starts from {file.name}, sha256 {file.hash}")
    _align_reports(folder / METRICS_FILE, trial.report)


def _train(
    trial: FoldTrial,
    folder: Path,
    until: int | None,
    workers: int | None,
    keep_going: Callable[[int], bool],
    checkpoint_seconds: float,
    finish: Callable[[FoldTrial, Path], None],
    once: bool,
) -> Iterator[Report]:
    end = trial.config.steps if until is None else min(until, trial.config.steps)
    reports_at = set(trial.config.report_steps(end))
    wanted = default_workers(trial.device) if workers is None else workers
    workers = workers_that_fit(trial.stream, wanted)
    if workers < wanted:
        room = f"{SHARED_MEMORY} has room for the batches of {workers} of {wanted} workers"
        note(folder, f"{room}, so the input may be slow; give the container more with --shm-size")
    began, saved = trial.step, (trial.step, time.monotonic())
    trial.watch.start()
    try:
        for images, labels in training_batches(trial.stream, trial.step, end, trial.device, workers):
            trial.train_step(images, labels)
            report = _report(trial, folder, finish) if trial.step in reports_at else None
            if trial.finished or time.monotonic() - saved[1] > checkpoint_seconds:
                trial.save(folder, once)
                saved = (trial.step, time.monotonic())
            if report is not None:
                trial.watch.stop()
                yield report
                trial.watch.start()
            if trial.finished or not keep_going(trial.step):
                break
        trial.watch.stop()
    except GeneratorExit:
        _save_at_the_end(trial, folder, began, saved[0], once)
        raise
    _save_at_the_end(trial, folder, began, saved[0], once)


def _save_at_the_end(trial: FoldTrial, folder: Path, began: int, saved: int, once: bool) -> None:
    """Only a checkpoint that was written here makes the previous one superfluous: an older one may be damaged."""
    if trial.step > saved:
        trial.save(folder, once)
    if once and trial.step > began:
        (folder / checkpoint.PREVIOUS).unlink(missing_ok=True)


def _report(trial: FoldTrial, folder: Path, finish: Callable[[FoldTrial, Path], None]) -> Report:
    """Evaluate and record the report; after the last report, write the results of the fold."""
    report = trial.evaluate()
    append_record(folder / METRICS_FILE, report.as_dict())
    score = digits(report.scores[trial.metric])
    note(folder, f"step {report.step}: loss {digits(report.loss)}, {trial.metric} {score}")
    if report.finished:
        finish(trial, folder)
        note(folder, f"finished at step {report.step}, best {digits(trial.best.score)} at step {trial.best.step}")
    return report


def _align_reports(path: Path, report: Report | None) -> None:
    """Drop reports newer than the checkpoint, which training repeats, and damaged ones, which the journal has."""
    kept: list[dict[str, Any]] = []
    if report is not None:
        kept = [each for each in read_lines(path, partial(note, path.parent)) if each["step"] < report.step]
        kept.append(report.as_dict())
    if kept or path.exists():
        write_text(path, text_of(kept))
