"""The ``fit`` command for a method: segment the held-out images of one fold and print their scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainable.config import ImageConfig, make_image_config, parse_assignments
from trainable.data.folds import Folds, folds_of, save_folds
from trainable.data.image_files import ImageFiles, open_files
from trainable.errors import FoldFailed
from trainable.fit_session import Request, interruptible, paused, print_scores
from trainable.images.check import check_images
from trainable.objectives.metrics import known_metric
from trainable.preflight.image_networks import opened_weights
from trainable.printing import Format, say
from trainable.progress import watch
from trainable.storage.atomic_files import write_json
from trainable.storage.shared_file import SharedFile

if TYPE_CHECKING:
    from trainable.images.fold import Report


def fit_images(request: Request, output: Format) -> int:
    """Segment the images, print the scores and return the exit code."""
    config = make_image_config(parse_assignments(list(request.assignments)))
    files = open_files(request.data, request.split)
    known_metric(request.metric, files.task, files.split.volumes_file is not None)
    check_images(config, files.split, request.validation)
    folds = folds_of(files, request.folds, request.fold_seed)
    weights = opened_weights(config, folds, files)
    folder = request.out or Path("runs", "fit", config.id, f"fold_{request.fold}")
    held_out = len(folds.held_out(request.fold))
    say(f"{config.method}, size {config.size}: fold {request.fold} of {folds.count}, {held_out} images to segment")
    try:
        last, interrupted = _segment(request, config, files, folds, weights, folder)
    except FoldFailed as failure:
        say(f"error: {failure.message} ({failure.reason}); see also {folder / 'error.json'}")
        return 1
    write_json(folder / "config.json", config.model_dump(mode="json"))
    save_folds(folds, folder / "folds.json")
    if last is None or not last.finished:
        return paused(interrupted)
    only = {"best": {"step": last.step, "original": last.scores}}  # a method has no weights and no other size
    print_scores(only, output, files.task, files.volumes is not None, request.metric)
    say(f"The results of this fold are in {folder}")
    return 0


def _segment(
    request: Request,
    config: ImageConfig,
    files: ImageFiles,
    folds: Folds,
    weights: Mapping[str, SharedFile],
    folder: Path,
) -> tuple[Report | None, bool]:
    """The last report, and whether the person interrupted."""
    from trainable.images.fold import segment_fold  # here, so that mistakes are reported before it loads torch

    last: Report | None = None
    end = min(request.until or config.steps, config.steps)
    images = len(folds.held_out(request.fold)) / config.steps
    with interruptible() as stops, watch(end, images, request.metric) as watcher:

        def keep_going(step: int) -> bool:
            watcher.step(step)
            return not stops

        reports = segment_fold(
            config,
            files,
            folds,
            request.fold,
            folder,
            metric=request.metric,
            until=request.until,
            device=request.device,
            keep_going=keep_going,
            keep_probabilities=request.probabilities,
            weights=weights,
        )
        for last in reports:
            watcher.report(last)
    return last, bool(stops)
