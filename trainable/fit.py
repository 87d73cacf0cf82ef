"""The ``fit`` command: train one fold and print its scores, interruptible at any step."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.config import PLUGINS, Config, copy_plugins, make_config, network_name, parse_assignments
from trainable.data.dataset import open_split
from trainable.data.decoded_images import Data, open_data
from trainable.data.folds import Folds, folds_of, save_folds
from trainable.data.labelled import SCRIBBLES
from trainable.errors import FoldFailed, UserError
from trainable.fit_session import Request, interruptible, paused, print_scores
from trainable.machine.isolated import in_this_process
from trainable.objectives.metrics import known_metric
from trainable.preflight.network_check import check_networks
from trainable.preflight.weights_check import check_weights
from trainable.printing import Format, progress_bar, say
from trainable.progress import watch
from trainable.storage.atomic_files import write_json
from trainable.storage.checked_json import read_checked
from trainable.training.labels import (
    COPIES,
    check_labels,
    check_validation,
    copies_its_input,
    open_validation,
    unscored_volumes,
)

if TYPE_CHECKING:
    from trainable.training.report import Report

CONFIG = "config.json"


def fit_fold(request: Request, output: Format) -> int:
    """Train, print the scores and return the exit code."""
    config = make_config(parse_assignments(list(request.assignments)), request.plugins)
    files = open_split(request.data, request.split)
    known_metric(request.metric, files.task, files.volumes_file is not None)
    check_labels(config, files)
    if request.validation is not None:
        check_validation(files, request.validation, [config.inputs])
        for warning in unscored_volumes(files, request.validation, request.metric):
            say(f"warning: {warning}")
    with progress_bar("decoding images") as progress:
        data = open_data(request.data, config.size, request.split, request.cache, progress)
        validation = open_validation(data, request.validation, request.cache, progress)
    folds = folds_of(data, request.folds, request.fold_seed)
    folder = request.out or Path("runs", "fit", config.id, f"fold_{request.fold}")
    say(
        f"{network_name(config.network)}, {_loss(config)}, augmentation {config.augmentation}, "
        f"{data.size[0]}x{data.size[1]}: fold {request.fold} of {folds.count}, "
        f"{len(folds.training(request.fold))} images to train on, {len(folds.held_out(request.fold))} held out"
    )
    if copies_its_input(config):
        say(f"warning: {COPIES}")
    if data.scored_on == SCRIBBLES:
        say(f"{data.split.root}: has no masks, so scores are of the scribbled pixels of held-out images")
    try:
        last, interrupted = _train(request, config, data, folds, folder, validation)
    except FoldFailed as failure:
        say(f"error: {failure.message} ({failure.reason}); see also {folder / 'error.json'}")
        return 1
    if last is not None and last.finished:
        summary = read_checked(folder / "scores.json")
        print_scores(summary, output, data.task, data.volumes is not None, request.metric)
        say(f"The results of this fold are in {folder}")
        return 0
    return paused(interrupted)


def _same_plugins(config: Config, folder: Path) -> None:
    """Refuse to resume a fold that another version of a plugin has trained."""
    path = folder / CONFIG
    before = json.loads(path.read_text()).get(PLUGINS, {}) if path.exists() else {}
    if changed := [plugin.name for plugin in config.plugins if before and before.get(plugin.name) != plugin.hash]:
        raise UserError(f"{folder}: was trained with another version of {', '.join(changed)}: choose another --out")


def _loss(config: Config) -> str:
    return f"{config.objective} on scribbles" if config.supervision == SCRIBBLES else f"{config.loss} loss"


def _train(
    request: Request, config: Config, data: Data, folds: Folds, folder: Path, validation: Data | None
) -> tuple[Report | None, bool]:
    # Imported here, so that mistakes are reported before torch is loaded.
    from trainable.networks.weights_file import file_of
    from trainable.pretraining.shared import needs_encoder
    from trainable.training.checkpoint import LAST

    check_networks([config.model_copy(update={"size": data.size})], in_this_process)
    if not (folder / LAST).exists():
        if file := file_of(config):
            check_weights([config], {file.name: file}, data.channels, len(data.task.classes))
        write_json(folder / CONFIG, config.model_dump(mode="json"))
        copy_plugins(config.plugins, folder)
        save_folds(folds, folder / "folds.json")
    else:
        _same_plugins(config, folder)
    with interruptible() as stops:
        encoder = None
        if needs_encoder(config, folder):
            encoder = _pretrain(request, config, data, folds, folder, lambda step: not stops)
            if encoder is None:
                return None, True
        return _train_fold(request, config, data, folds, folder, validation, encoder, stops), bool(stops)


def _pretrain(
    request: Request, config: Config, data: Data, folds: Folds, folder: Path, keep_going: Callable[[int], bool]
) -> Mapping[str, Any] | None:
    """The encoder that the fold starts from, found or made beside the folder; None if it was interrupted."""
    from trainable.pretraining.shared import pretrained_encoder

    root = Path("runs", "fit") if request.out is None else folder.parent
    making = pretrained_encoder(
        config,
        data,
        folds,
        request.fold,
        folder,
        root,
        cache=request.cache,
        device=request.device,
        keep_going=keep_going,
        checkpoint_seconds=request.checkpoint_seconds,
    )
    with progress_bar("pre-training") as progress:
        while True:
            try:
                epoch = next(making)
            except StopIteration as end:
                weights: Mapping[str, Any] | None = end.value
                return weights
            progress(epoch.number, epoch.of)
            say(str(epoch))


def _train_fold(
    request: Request,
    config: Config,
    data: Data,
    folds: Folds,
    folder: Path,
    validation: Data | None,
    encoder: Mapping[str, Any] | None,
    stops: list[int],
) -> Report | None:
    from trainable.training.fold import train_fold

    last: Report | None = None
    end = min(request.until or config.steps, config.steps)
    with watch(end, config.batch_size, request.metric) as watcher:

        def keep_going(step: int) -> bool:
            watcher.step(step)
            return not stops

        reports = train_fold(
            config,
            data,
            folds,
            request.fold,
            folder,
            metric=request.metric,
            until=request.until,
            device=request.device,
            workers=request.workers,
            keep_going=keep_going,
            checkpoint_seconds=request.checkpoint_seconds,
            keep_probabilities=request.probabilities,
            validation=validation,
            encoder=encoder,
        )
        for last in reports:
            watcher.report(last)
    return last
