"""What a job does, by the kind of its fold trial: every report as a result, and nothing is decided."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from trainable.data.shipment import Shipment
from trainable.errors import UserError

if TYPE_CHECKING:
    from trainable.config import Config
    from trainable.data.decoded_images import Data
    from trainable.storage.shared_file import SharedFile

Result = dict[str, Any]
Reports = Generator[Result, None, None]
Alive = Callable[[int], bool]


class Report(Protocol):
    @property
    def step(self) -> int: ...
    @property
    def scores(self) -> dict[str, float]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def finished(self) -> bool: ...


def train(job: Result, shipment: Shipment, device: torch.device, alive: Alive) -> Reports:
    """Train a network on the images of the other folds."""
    from trainable.augmentation.batches import default_workers
    from trainable.config import keep, make_config
    from trainable.data.decoded_images import open_data
    from trainable.training.fold import train_fold
    from trainable.training.labels import open_validation

    for plugin in shipment.plugins:
        keep(plugin)
    config = make_config(job["values"])
    data = open_data(shipment.place(), config.size, shipment.split)
    _same_data(data.hash, data.split.root, shipment)
    validation = open_validation(data, shipment.validation)
    folder = Path(job["folder"])
    weights_file = None if config.weights_file is None else shipment.weights[config.weights_file]
    encoder = yield from _pretrain(job, shipment, config, data, weights_file, device, alive)
    reports = train_fold(
        config,
        data,
        shipment.folds,
        job["fold"],
        folder,
        metric=job["metric"],
        until=job["until"],
        device=str(device),
        workers=min(job["threads"], default_workers(device)),
        keep_going=alive,
        keep_probabilities=job.get("keep_probabilities", False),
        validation=validation,
        encoder=encoder,
        weights_file=weights_file,
        once=True,
        gpus=job.get("gpus") or 1.0,
    )
    yield from _results(reports, job["metric"], config.steps)


def _pretrain(
    job: Result,
    shipment: Shipment,
    config: Config,
    data: Data,
    weights_file: SharedFile | None,
    device: torch.device,
    alive: Alive,
) -> Generator[Result, None, Mapping[str, torch.Tensor] | None]:
    """The encoder that the fold starts from, found or made in the run; None if it needs none."""
    from trainable.machine.device import release_memory
    from trainable.pretraining.shared import as_results, needs_encoder, pretrained_encoder
    from trainable.storage.object_store import Store

    folder = Path(job["folder"])
    if not needs_encoder(config, folder):
        return None
    root = Store(job["store"]) if "store" in job else Path(job["journal"]).parent
    making = pretrained_encoder(
        config,
        data,
        shipment.folds,
        job["fold"],
        folder,
        root,
        weights_file=weights_file,
        device=str(device),
        keep_going=alive,
    )
    encoder = yield from as_results(making)
    release_memory()
    return encoder


def segment(job: Result, shipment: Shipment, device: torch.device, alive: Alive) -> Reports:
    """Segment the images of the fold one by one."""
    import cv2

    from trainable.config import make_image_config
    from trainable.data.image_files import open_files
    from trainable.images.fold import segment_fold

    cv2.setNumThreads(job["threads"])
    config = make_image_config(job["values"])
    files = open_files(shipment.place(), shipment.split)
    _same_data(files.hash, files.split.root, shipment)
    reports = segment_fold(
        config,
        files,
        shipment.folds,
        job["fold"],
        Path(job["folder"]),
        metric=job["metric"],
        until=job["until"],
        device=str(device),
        keep_going=alive,
        keep_probabilities=job.get("keep_probabilities", False),
        weights=shipment.weights,
        gpus=job.get("gpus") or 1.0,
    )
    yield from _results(reports, job["metric"], config.steps)


JOBS: Mapping[str, Callable[[Result, Shipment, torch.device, Alive], Reports]] = {"fold": train, "image": segment}


def _same_data(content: str, root: Path, shipment: Shipment) -> None:
    if content != shipment.folds.data_hash:
        raise UserError(f"{root}: the data have changed since the search was launched")


def _results(reports: Iterable[Report], metric: str, horizon: int) -> Reports:
    with contextlib.closing(reports):  # type: ignore[type-var]
        for report in reports:
            step = horizon if report.finished else report.step
            yield {"step": step, "score": report.scores[metric], "seconds": report.seconds, "finished": report.finished}
