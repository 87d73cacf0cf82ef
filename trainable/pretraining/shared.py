"""The product of a stage where all who need it find it: a folder that they see, or the object store of their run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from torch import Tensor

from trainable.config import Config
from trainable.data.decoded_images import Data
from trainable.data.folds import Folds
from trainable.errors import FoldFailed
from trainable.networks.weights_file import file_of
from trainable.pretraining.pretrain import OUT_OF_MEMORY, Epoch, pretrain
from trainable.pretraining.product import CHECKPOINT, ENCODER, FOLDER, inputs_of, name_of, read_encoder
from trainable.pretraining.unlabelled import images_for
from trainable.storage.node_folder import Workplace
from trainable.storage.object_store import Store
from trainable.storage.shared_file import SharedFile
from trainable.training.finish import resumable
from trainable.training.fold_folder import write_failure
from trainable.training.fold_log import note

Weights = dict[str, Tensor]
Making = Generator[Epoch, None, Weights | None]


def needs_encoder(config: Config, folder: Path) -> bool:
    """Whether a fold trial starts from a pre-trained encoder; one with a checkpoint has it already."""
    return config.pretraining != "none" and resumable(folder) is None


def pretrained_encoder(
    config: Config,
    data: Data,
    folds: Folds,
    fold: int,
    folder: Path,
    root: Path | Store,
    *,
    weights_file: SharedFile | None = None,
    cache: Path | None = None,
    device: str = "auto",
    keep_going: Callable[[int], bool] = lambda step: True,
    checkpoint_seconds: float = 120.0,
) -> Making:
    """Find or make the encoder of a fold trial in ``root``; yields after each epoch that is made here.

    ``weights_file`` is the file that the config names, where it has been opened already. Returns None if ``keep_going``
    ended the stage. Epochs are written to the log in ``folder``, the fold's.
    """
    images = images_for(config, data, folds, fold, cache)
    file = file_of(config, weights_file)
    name = name_of(inputs_of(config, images, fold, file))

    def make(place: Path) -> Making:
        weights = read_encoder(place)
        if weights is not None:
            return weights
        options: dict[str, Any] = {
            "weights_file": file,
            "keep_going": keep_going,
            "checkpoint_seconds": checkpoint_seconds,
        }
        for epoch in pretrain(config, images, fold, place, device=device, **options):
            note(folder, str(epoch))
            yield epoch
        return read_encoder(place)

    folder.mkdir(parents=True, exist_ok=True)
    try:
        weights = yield from (
            _stored(root.under(FOLDER, name), make) if isinstance(root, Store) else make(root / FOLDER / name)
        )
    except FoldFailed as failure:
        write_failure(folder, failure)
        raise
    if weights is not None:
        note(folder, f"starts from the pre-trained encoder {name}")
    return weights


def as_results(making: Making) -> Generator[dict[str, Any], None, Weights | None]:
    """The epochs as results of a worker; the last one says that the encoder is there for others too.

    ``seconds`` is what the stage has taken in this job so far.
    """
    seconds = 0.0
    while True:
        try:
            epoch = next(making)
        except StopIteration as end:
            yield {"pretraining": {"ready": True, "seconds": seconds}}
            weights: Weights | None = end.value
            return weights
        seconds = epoch.seconds
        try:
            yield {"pretraining": {"ready": False, "epoch": epoch.number, "of": epoch.of, "seconds": seconds}}
        except GeneratorExit:
            making.close()
            raise


def _stored(store: Store, make: Callable[[Path], Making]) -> Making:
    """Find the product in an object store, or make it in a folder of this node and upload it."""
    if store.entry(ENCODER) is not None:
        with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch:
            store.get(ENCODER, Path(scratch, ENCODER))
            weights = read_encoder(Path(scratch))
        if weights is not None:
            return weights
    made: list[Weights | None] = []
    place = Workplace(store)

    def epochs() -> Generator[dict[str, Any], None, None]:
        making = make(place.folder)
        while True:
            try:
                epoch = next(making)
            except StopIteration as end:
                made.append(end.value)
                return
            try:
                yield {"epoch": epoch, "finished": epoch.number == epoch.of}
            except GeneratorExit:
                making.close()
                raise

    try:
        for result in place.carry(epochs()):
            yield result["epoch"]
    except FoldFailed as failure:
        if failure.reason != OUT_OF_MEMORY:
            store.delete(CHECKPOINT)
        raise
    if made[0] is not None:
        store.delete(CHECKPOINT)
    return made[0]
