"""A split decoded and resized once: memory-mapped uint8 arrays that all processes of a machine share.

An entry is a folder named by the data's hash and the size. It is built under a temporary name and renamed, so it is
complete or absent; a lock lets one process build while others wait, and without working locks the rename decides.
Mask and scribble share one byte per pixel (see ``packed_labels``).
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainable.config import STRIDE
from trainable.data import dataset
from trainable.data.dataset import IGNORED, BadFile, Pixels, Split
from trainable.data.labelled import MASKS, SCRIBBLES, Labelled
from trainable.data.packed_labels import pack
from trainable.data.reading import is_grey, read_image, read_mask, read_scribble
from trainable.data.task import Task
from trainable.errors import CacheFailed
from trainable.printing import Progress
from trainable.storage.atomic_files import cache_folder

VERSION = 3  # of the format of an entry


@dataclass(frozen=True)
class Data(Labelled):
    """A split at working size. ``labels`` is (N, H, W) as packed by ``pack``.

    ``images`` is (N, H, W, 3), or (N, H, W, 1) if a declared data set is all grey. ``shares`` has a column per class:
    its share of the mask, or of the scribbled pixels if no image has a mask. ``masked`` and ``scribbled`` tell which
    images have such a file.
    """

    entry: Path
    split: Split
    hash: str
    size: tuple[int, int]
    stems: tuple[str, ...]
    images: Pixels
    labels: Pixels
    shares: npt.NDArray[np.float64]
    channel_sums: npt.NDArray[np.float64]
    channel_squares: npt.NDArray[np.float64]
    masked: npt.NDArray[np.bool_]
    scribbled: npt.NDArray[np.bool_]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as a path: another process maps the same files."""
        return (_reopen, (self.entry, self.split, self.hash, self.size))

    @property
    def channels(self) -> int:
        return int(self.images.shape[3])

    @property
    def scored_on(self) -> str:
        """What held-out images are scored on: masks, or scribbled pixels if no image has a mask."""
        return MASKS if self.masked.any() else SCRIBBLES

    @property
    def ignoring(self) -> bool:
        """Whether some masks have pixels that count for nothing."""
        return self.task.ignore or not self.masked.all()

    def indices(self, stems: Sequence[str]) -> npt.NDArray[np.int64]:
        position = {stem: index for index, stem in enumerate(self.stems)}
        return np.array([position[stem] for stem in stems], np.int64)

    def statistics(self, indices: npt.NDArray[np.int64]) -> tuple[list[float], list[float]]:
        """Channel mean and standard deviation of these images, in 0..255."""
        pixels = len(indices) * self.size[0] * self.size[1]
        mean = self.channel_sums[indices].sum(0) / pixels
        variance = self.channel_squares[indices].sum(0) / pixels - mean**2
        return mean.tolist(), np.sqrt(np.maximum(variance, 1.0)).tolist()


def open_data(
    folder: Path,
    size: tuple[int, int] | str = "auto",
    split: str = "train",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Data:
    """Open a split at working size; a missing or damaged cache entry is built first."""
    files = dataset.open_split(Path(folder), split)
    return _opened(files, size, cache, progress)


def open_images(
    folder: Path, size: tuple[int, int], split: str, cache: Path | None = None, progress: Progress | None = None
) -> Data:
    """Open the images of a split alone; labels that it may have are neither read nor part of its hash."""
    return _opened(dataset.images_alone(Path(folder), split), size, cache, progress)


def _opened(files: Split, size: tuple[int, int] | str, cache: Path | None, progress: Progress | None) -> Data:
    content = files.hash
    width, height = dataset.auto_size(files, STRIDE) if isinstance(size, str) else size
    entry = (cache or cache_folder()) / f"v{VERSION}-{content[:20]}-{width}x{height}"
    opened = _open(entry, files, content, (width, height))
    if opened is None:
        with _lock(entry):
            opened = _open(entry, files, content, (width, height))
            if opened is None:
                _build(entry, files, content, (width, height), progress)
                opened = _open(entry, files, content, (width, height))
    if opened is None:
        raise CacheFailed(f"{entry}: is damaged right after it was built; check the disk")
    return opened


def _open(entry: Path, files: Split, content: str, size: tuple[int, int]) -> Data | None:
    """The entry on disk, or None if it is missing or damaged."""
    try:
        meta: Any = json.loads((entry / "meta.json").read_text())
        images = np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(entry / "labels.npy", mmap_mode="r", allow_pickle=False)
        width, height = size
        stems = tuple(meta["stems"])
        sound = (
            meta["hash"] == content
            and images.shape in [(len(stems), height, width, channels) for channels in (1, 3)]
            and labels.shape == (len(stems), height, width)
            and meta["checksums"] == [_checksum(images), _checksum(labels)]
        )
        shares, sums, squares = (np.array(meta[k], np.float64) for k in ("shares", "channel_sums", "channel_squares"))
        masked, scribbled = (np.array(meta[key], np.bool_) for key in ("masked", "scribbled"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not sound:
        return None
    return Data(entry, files, content, size, stems, images, labels, shares, sums, squares, masked, scribbled)


def _reopen(entry: Path, files: Split, content: str, size: tuple[int, int]) -> Data:
    data = _open(entry, files, content, size)
    if data is None:
        raise CacheFailed(f"{entry}: this cache of decoded images is gone or damaged; start again to rebuild it")
    return data


def _build(entry: Path, files: Split, content: str, size: tuple[int, int], progress: Progress | None) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    count, classes = len(files.stems), len(files.task.classes)
    channels = 1 if files.task.declared and all(is_grey(path) for path in files.images.values()) else 3
    building = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        _reserve(building, count * width * height * (channels + 1))
        images = np.lib.format.open_memmap(building / "images.npy", "w+", np.uint8, (count, height, width, channels))
        labels = np.lib.format.open_memmap(building / "labels.npy", "w+", np.uint8, (count, height, width))
        shares, sums, squares = np.zeros((count, classes)), np.zeros((count, channels)), np.zeros((count, channels))

        def decode(index: int) -> None:
            image, labels[index], shares[index] = _decode(files, files.stems[index], size, channels)
            images[index] = image.reshape(height, width, channels)
            values = images[index].reshape(-1, channels).astype(np.int64)
            sums[index], squares[index] = values.sum(0), (values**2).sum(0)

        with ThreadPoolExecutor() as pool:
            for done, _ in enumerate(pool.map(decode, range(count)), 1):
                if progress:
                    progress(done, count)
        images.flush()
        labels.flush()
        meta = {
            "version": VERSION,
            "hash": content,
            "stems": files.stems,
            "shares": shares.tolist(),
            "channel_sums": sums.tolist(),
            "channel_squares": squares.tolist(),
            "masked": [stem in files.truth for stem in files.stems],
            "scribbled": [stem in files.scribbles for stem in files.stems],
            "checksums": [_checksum(images), _checksum(labels)],
        }
        (building / "meta.json").write_text(json.dumps(meta))
        if entry.exists():
            shutil.rmtree(entry)
        with suppress(OSError):  # without working locks, another process may have built the same entry
            building.rename(entry)
    except OSError as error:
        raise CacheFailed(
            f"{entry.parent}: the cache of decoded images cannot be written ({error.strerror or error})"
        ) from None
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _decode(
    files: Split, stem: str, size: tuple[int, int], channels: int
) -> tuple[Pixels, Pixels, npt.NDArray[np.float64]]:
    """The image and its packed labels at working size, and the share of each class."""
    image = read_image(files.images[stem], "L" if channels == 1 else "RGB")
    scribble, mask = (
        _read_labels(path, reader, files, stem, image.shape[:2], missing)
        for path, reader, missing in (
            (files.scribbles.get(stem), read_scribble, dataset.UNLABELLED),
            (files.truth.get(stem), read_mask, IGNORED),
        )
    )
    packed = Image.fromarray(pack(scribble, mask)).resize(size, Image.Resampling.NEAREST)
    resized = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    known = (mask[mask != IGNORED] if files.truth else scribble[scribble != dataset.UNLABELLED]).reshape(-1)
    shares = np.bincount(known, minlength=len(files.task.classes)) / max(len(known), 1)
    return np.asarray(resized), np.asarray(packed), shares


def _read_labels(
    path: Path | None,
    reader: Callable[[Path, Task], Pixels],
    files: Split,
    stem: str,
    shape: tuple[int, ...],
    missing: int,
) -> Pixels:
    """The labels of an image, or those of an image that has no such file."""
    if path is None:
        return np.full(shape, missing, np.uint8)
    labels = reader(path, files.task)
    if labels.shape != shape:
        found, expected = (f"{each[1]}x{each[0]}" for each in (labels.shape, shape))
        raise BadFile(path, f"is {found}, its image {files.images[stem].name} is {expected}")
    return labels


def _reserve(folder: Path, needed: int) -> None:
    """Check the free space first: running out of it in a memory map kills the process."""
    free = shutil.disk_usage(folder).free
    if free < needed * 1.05:
        raise CacheFailed(
            f"{folder.parent}: the cache needs {needed / 1e6:.0f} MB, the disk has {free / 1e6:.0f} MB left"
        )


def _checksum(array: Pixels) -> int:
    """The sum of the bytes as 64-bit words: fast enough for every opening, and it detects any flipped bit."""
    flat = np.ascontiguousarray(array).reshape(-1)
    whole = flat.size // 8 * 8
    total = int(flat[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(flat[whole:].sum(dtype=np.uint64))
    return total % 2**64


@contextmanager
def _lock(entry: Path) -> Iterator[None]:
    """Hold the entry's lock file; proceed without it on file systems that have no locks."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(entry.with_name(f".{entry.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CacheFailed(f"{entry.parent}: the cache of decoded images cannot be written ({error.strerror})") from None
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
