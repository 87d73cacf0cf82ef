"""Data for nodes that do not see the data folder: sent once, cached there and verified by a hash."""

import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from trainable.config import Plugin
from trainable.data.dataset import Split, find_splits, images_alone, open_split
from trainable.data.folds import Folds
from trainable.data.task import FILE as TASK_FILE
from trainable.errors import CacheFailed, UserError
from trainable.storage.atomic_files import cache_folder
from trainable.storage.file_locks import locked
from trainable.storage.shared_file import SharedFile

PART = 64 * 2**20  # bytes per part, small enough that several in transit do not fill a node's memory

Fetch = Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Shipment:
    """What the fold trials of a run are trained on: the folds and the split that they divide.

    ``fetch`` downloads the split's files on a node that does not see its folder. Finished models are also scored on
    the split ``validation``; of the splits ``unlabelled``, pre-training sees the images. ``weights`` are the files that
    encoders start from, by their names in configs, ``plugins`` the code that configs need.
    """

    folds: Folds
    folder: Path
    split: str
    fetch: Fetch | None = None
    validation: str | None = None
    unlabelled: tuple[str, ...] = ()
    weights: Mapping[str, SharedFile] = field(default_factory=dict)
    plugins: tuple[Plugin, ...] = ()

    def files(self) -> list[Split]:
        """Everything that a node needs."""
        labelled = [self.split] if self.validation is None else [self.split, self.validation]
        images = [images_alone(self.folder, name) for name in self.unlabelled if name not in labelled]
        return [open_split(self.folder, name) for name in labelled] + images

    def place(self) -> Path:
        """The folder with the data on this machine."""
        others = {*self.unlabelled, *([] if self.validation is None else [self.validation])}
        return located(self.folder, self.split, self.folds.data_hash, self.fetch, tuple(sorted(others)))


def parts_of(*splits: Split) -> Iterator[bytes]:
    """The files of splits as independent tar archives."""
    buffer, archive = _archive()
    for path in dict.fromkeys(path for split in splits for path in _files(split)):
        archive.add(path, str(path.relative_to(splits[0].root.parent)))
        if buffer.tell() >= PART:
            archive.close()
            yield buffer.getvalue()
            buffer, archive = _archive()
    archive.close()
    yield buffer.getvalue()


def _files(split: Split) -> Iterator[Path]:
    """Everything that the content of a split depends on."""
    for folder in (split.images, split.scribbles, split.truth):
        yield from folder.values()
    if split.task.declared:
        yield split.root.parent / TASK_FILE
    if split.volumes_file:
        yield split.volumes_file


def _archive() -> tuple[io.BytesIO, tarfile.TarFile]:
    buffer = io.BytesIO()
    return buffer, tarfile.open(fileobj=buffer, mode="w", dereference=True)


def located(original: Path, split: str, content: str, fetch: Fetch | None, others: tuple[str, ...] = ()) -> Path:
    """The local folder of the data: the original one if it is visible, otherwise the copy that was sent."""
    if fetch is None or _holds(original, split, content, others):
        return original
    kept = cache_folder() / "data" / "-".join([content[:20], *others])
    with locked(kept.with_name(f".{kept.name}.lock")):
        if not _holds(kept, split, content, others):
            _unpack(kept, fetch())
            _holds.cache_clear()
    if not _holds(kept, split, content, others):
        raise UserError(f"{kept}: this copy of {original} differs from the data that the search was launched with")
    return kept


@lru_cache(maxsize=16)
def _holds(folder: Path, split: str, content: str, others: tuple[str, ...]) -> bool:
    try:
        splits = find_splits(folder)
    except UserError:
        return False
    return splits.keys() >= {split, *others} and splits[split].hash == content


def _unpack(kept: Path, parts: Iterable[bytes]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    unpacked = Path(tempfile.mkdtemp(prefix=f".{kept.name}-", dir=kept.parent))
    try:
        for part in parts:
            with tarfile.open(fileobj=io.BytesIO(part)) as archive:
                archive.extractall(unpacked, filter="data")
        shutil.rmtree(kept, ignore_errors=True)
        unpacked.rename(kept)
    except OSError as error:
        raise CacheFailed(f"{kept}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
