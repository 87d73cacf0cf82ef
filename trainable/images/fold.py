"""The loop of a fold of single images: segment the held-out images one by one and yield a report at every report step.

Reports, tables and resuming follow from the results of the images alone, which are stored as they come. Masks are read
to score, and for nothing else.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainable.config import ImageConfig
from trainable.data.folds import Folds
from trainable.data.image_files import ImageFiles
from trainable.errors import FoldFailed, UserError
from trainable.images.check import check_images
from trainable.images.ownership import claim
from trainable.images.pretrained.features import Weights, open_pretrained
from trainable.images.results import (
    IMAGES_FILE,
    PROBABILITIES,
    SCORES_FILE,
    Result,
    keep,
    read_results,
    scores_of,
    write_tables,
)
from trainable.images.segmenter import Segmenter
from trainable.machine.device import is_out_of_memory, pick_device
from trainable.objectives.metrics import SELECTION, known_metric
from trainable.printing import digits, plural
from trainable.storage.atomic_files import write_text
from trainable.storage.checked_json import append_record, read_lines, text_of
from trainable.training.fold_folder import METRICS_FILE, prepare, write_failure
from trainable.training.fold_log import note

ORDER = 5  # random stream of the order of the images


@dataclass(frozen=True)
class Report:
    """The scores of the images that are done; ``seconds`` is the time spent on them, on a share of ``gpus``."""

    step: int
    images: int
    scores: dict[str, float]
    seconds: float
    finished: bool
    gpus: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Flat, as written to metrics.jsonl, which omits a share of one whole GPU."""
        left_out = {"scores", "gpus"} if self.gpus == 1.0 else {"scores"}
        values = {key: value for key, value in vars(self).items() if key not in left_out}
        return {**values, **self.scores}

    def words(self, brief: bool = False) -> str:
        return plural(self.images, "image")


def segment_fold(
    config: ImageConfig,
    files: ImageFiles,
    folds: Folds,
    fold: int,
    folder: Path,
    *,
    metric: str = SELECTION,
    until: int | None = None,
    device: str = "auto",
    keep_going: Callable[[int], bool] = lambda step: True,
    keep_probabilities: bool = False,
    weights: Weights | None = None,
    gpus: float = 1.0,
) -> Iterator[Report]:
    """Segment the fold's images until step ``until`` (default: all), resuming from the results in the folder.

    The order of the images depends on the folds alone, so that configs are compared on the same images at every step.
    The first report after resuming repeats the last one. The loop ends at ``until``, when the generator is closed, or
    when ``keep_going``, called after each batch, returns False. ``weights`` are the files that networks start from, by
    their names, where they have been opened already. Raises ``FoldFailed`` if a probability is not finite or
    memory runs out, after writing the reason to ``error.json``.
    """
    known_metric(metric, files.task, files.volumes is not None)
    check_images(config, files.split)
    prepare(folder)
    claim(folder, config, folds, fold)
    order = image_order(files, folds, fold)
    results = read_results(folder, order)
    place = pick_device(device)
    note(folder, f"config {config.id} fold {fold} on {place}, from image {len(results)} of {len(order)}")
    if keep_probabilities and any(not (folder / PROBABILITIES / f"{each.stem}.npy").exists() for each in results):
        raise UserError(f"{folder}: holds images without their probabilities; choose another folder")
    work = _Work(config, files, folder, folds, fold, order, place, keep_probabilities, weights, metric, gpus)
    try:
        yield from _segment_all(work, results, until, keep_going)
    except (FloatingPointError, MemoryError, RuntimeError) as error:
        if not isinstance(error, FloatingPointError) and not is_out_of_memory(error):
            raise
        finite = not isinstance(error, FloatingPointError)
        kind, words = ("out_of_memory", f"out of memory on {place}") if finite else ("nan", str(error))
        failure = FoldFailed(kind, f"{words} after image {len(results)}", _step(work, results))
        write_failure(folder, failure)
        raise failure from error


@dataclass(frozen=True)
class _Work:
    config: ImageConfig
    files: ImageFiles
    folder: Path
    folds: Folds
    fold: int
    order: list[str]
    device: torch.device
    keep_probabilities: bool
    weights: Weights | None
    metric: str
    gpus: float


def image_order(files: ImageFiles, folds: Folds, fold: int) -> list[str]:
    """The held-out images that have a mask, in random order."""
    stems = [stem for stem in folds.held_out(fold) if stem in files.split.truth]
    if not stems:
        raise UserError(f"fold {fold}: none of its {len(folds.held_out(fold))} images has a mask; use fewer folds")
    rng = np.random.default_rng((ORDER, folds.seed, fold))
    return [stems[position] for position in rng.permutation(len(stems))]


def _segment_all(
    work: _Work, results: list[Result], until: int | None, keep_going: Callable[[int], bool]
) -> Iterator[Report]:
    config, going = work.config, True
    end = config.steps if until is None else min(until, config.steps)
    waiting = config.report_steps(end)
    recorded = _recorded_reports(work, results)
    if recorded:
        report = _report(work, results, recorded[-1])
        if report.finished and not all((work.folder / name).exists() for name in (IMAGES_FILE, SCORES_FILE)):
            write_tables(work.folder, results, work.files, work.fold, report.step)
        yield report
        waiting = [step for step in waiting if step > recorded[-1]]
    batches = _remaining(work, len(results))
    for step in sorted({*waiting, end}):
        while len(results) < config.images_at(step, len(work.order)):
            if not going:
                return
            _segment(work, *next(batches), results)
            going = keep_going(_step(work, results))
        if step not in waiting:  # the end, which is between two reports or has been reported
            return
        report = _report(work, results, step)
        if report.finished:
            write_tables(work.folder, results, work.files, work.fold, step)
        append_record(work.folder / METRICS_FILE, report.as_dict())
        note(work.folder, f"step {step}: {report.words()}, {work.metric} {digits(report.scores[work.metric])}")
        yield report


def _remaining(work: _Work, done: int) -> Iterator[tuple[Segmenter, list[str]]]:
    """Batches of images that are not all done; they are the same wherever the fold was interrupted."""
    config, device = work.config, work.device
    pretrained = open_pretrained(config, work.files, work.folds, work.fold, work.folder, device, work.weights)
    segmenter = Segmenter(config, len(work.files.task.classes), device, pretrained)
    for batch in segmenter.batches([work.files.size(stem) for stem in work.order]):
        if batch.stop > done:
            yield segmenter, work.order[batch.start : batch.stop]


def _segment(work: _Work, segmenter: Segmenter, stems: list[str], results: list[Result]) -> None:
    """Segment a batch and store the results that are not there yet."""
    images = [work.files.read(stem) for stem in stems]
    started = time.perf_counter()
    found = segmenter.segment(images)
    seconds = (time.perf_counter() - started) / len(stems)
    there = {result.stem for result in results}
    for stem, (image, _), probabilities in zip(stems, images, found, strict=True):
        if stem not in there:
            truth = work.files.mask(stem, image)
            results.append(keep(work.folder, stem, probabilities, truth, seconds, work.keep_probabilities))


def _recorded_reports(work: _Work, results: list[Result]) -> list[int]:
    """The steps in metrics.jsonl; reports whose images are not there any more are dropped and come again."""
    path, total = work.folder / METRICS_FILE, len(work.order)
    records = read_lines(path, partial(note, work.folder))
    kept = [each for each in records if work.config.images_at(int(each["step"]), total) <= len(results)]
    if path.exists() and path.read_text(errors="replace") != (text := text_of(kept)):
        write_text(path, text)
    return [int(each["step"]) for each in kept]


def _report(work: _Work, results: list[Result], step: int) -> Report:
    done = results[: work.config.images_at(step, len(work.order))]
    seconds = sum(result.seconds for result in done)
    return Report(step, len(done), scores_of(done, work.files), seconds, step >= work.config.steps, work.gpus)


def _step(work: _Work, results: list[Result]) -> int:
    return len(results) * work.config.steps // len(work.order)
