"""A split decoded and resized once: memory-mapped uint8 arrays that all processes of a machine share.

An entry is a folder named by the data's hash and the size. It is built under a temporary name and renamed, so it is
complete or absent; a lock lets one process build while others wait, and without working locks the rename decides.
Labels are packed in one byte per pixel, so that one nearest-neighbour warp moves mask and scribble together and they
cannot get out of step.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainable.config import STRIDE
from trainable.data import dataset, scribbles
from trainable.data.dataset import BadFile, Pixels, Split
from trainable.errors import UserError
from trainable.printing import Progress
from trainable.storage.atomic_files import cache_folder

VERSION = 2  # of the format of an entry
MASK_BIT, SCRIBBLE_SHIFT = 1, 1


@dataclass(frozen=True)
class Data:
    """A split at working size. ``images`` is (N, H, W, 3), ``labels`` (N, H, W) as packed by ``pack``."""

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as a path: another process maps the same files."""
        return (_reopen, (self.entry, self.split, self.hash, self.size))

    @property
    def foreground_shares(self) -> dict[str, float]:
        return dict(zip(self.stems, self.shares.tolist(), strict=True))

    def indices(self, stems: Sequence[str]) -> npt.NDArray[np.int64]:
        position = {stem: index for index, stem in enumerate(self.stems)}
        return np.array([position[stem] for stem in stems], np.int64)

    def statistics(self, indices: npt.NDArray[np.int64]) -> tuple[list[float], list[float]]:
        """Channel mean and standard deviation of these images, in 0..255."""
        pixels = len(indices) * self.size[0] * self.size[1]
        mean = self.channel_sums[indices].sum(0) / pixels
        variance = self.channel_squares[indices].sum(0) / pixels - mean**2
        return mean.tolist(), np.sqrt(np.maximum(variance, 1.0)).tolist()


def pack(scribble: Pixels, mask: Pixels) -> Pixels:
    """One byte per pixel of a scribble file's labels and a mask; 0 is "unlabelled, background", safe to fill with."""
    code = np.zeros(256, np.uint8)
    code[dataset.FOREGROUND] = scribbles.FOREGROUND << SCRIBBLE_SHIFT
    code[dataset.BACKGROUND] = scribbles.BACKGROUND << SCRIBBLE_SHIFT
    packed: Pixels = code[scribble] | mask
    return packed


def repack(scribble: Pixels, mask: Pixels) -> Pixels:
    """The inverse of ``unpack``."""
    packed: Pixels = np.left_shift(scribble, np.uint8(SCRIBBLE_SHIFT)) | mask
    return packed


def unpack(labels: Any) -> tuple[Any, Any]:
    """The scribble (0 unlabelled, 1 foreground, 2 background) and the mask (0, 1) of an array or a tensor."""
    return labels >> SCRIBBLE_SHIFT, labels & MASK_BIT


def open_data(
    folder: Path,
    size: tuple[int, int] | str = "auto",
    split: str = "train",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Data:
    """Open a split at working size; a missing or damaged cache entry is built first."""
    files = dataset.open_split(Path(folder), split)
    if not files.labelled:
        raise UserError(f"{files.root}: has no {dataset.TRUTH}/ folder, so there is nothing to train on")
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
        raise UserError(f"{entry}: is damaged right after it was built; check the disk")
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
            and images.shape == (len(stems), height, width, 3)
            and labels.shape == (len(stems), height, width)
            and meta["checksums"] == [_checksum(images), _checksum(labels)]
        )
        tables = [np.array(meta[key], np.float64) for key in ("shares", "channel_sums", "channel_squares")]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Data(entry, files, content, size, stems, images, labels, *tables) if sound else None


def _reopen(entry: Path, files: Split, content: str, size: tuple[int, int]) -> Data:
    data = _open(entry, files, content, size)
    if data is None:
        raise UserError(f"{entry}: this cache of decoded images is gone or damaged; start again to rebuild it")
    return data


def _build(entry: Path, files: Split, content: str, size: tuple[int, int], progress: Progress | None) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    count = len(files.stems)
    building = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        _reserve(building, count * width * height * 4)
        images = np.lib.format.open_memmap(building / "images.npy", "w+", np.uint8, (count, height, width, 3))
        labels = np.lib.format.open_memmap(building / "labels.npy", "w+", np.uint8, (count, height, width))
        shares, sums, squares = np.zeros(count), np.zeros((count, 3)), np.zeros((count, 3))

        def decode(index: int) -> None:
            images[index], labels[index], shares[index] = _decode(files, files.stems[index], size)
            values = images[index].reshape(-1, 3).astype(np.int64)
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
            "checksums": [_checksum(images), _checksum(labels)],
        }
        (building / "meta.json").write_text(json.dumps(meta))
        if entry.exists():
            shutil.rmtree(entry)
        with suppress(OSError):  # without working locks, another process may have built the same entry
            building.rename(entry)
    except OSError as error:
        raise UserError(
            f"{entry.parent}: the cache of decoded images cannot be written ({error.strerror or error})"
        ) from None
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _decode(files: Split, stem: str, size: tuple[int, int]) -> tuple[Pixels, Pixels, float]:
    image = dataset.read_image(files.images[stem])
    scribble = dataset.read_scribble(files.scribbles[stem])
    mask = dataset.read_mask(files.truth[stem])
    for path, labels in ((files.scribbles[stem], scribble), (files.truth[stem], mask)):
        if labels.shape != image.shape[:2]:
            found, expected = (f"{shape[1]}x{shape[0]}" for shape in (labels.shape, image.shape))
            raise BadFile(path, f"is {found}, its image {files.images[stem].name} is {expected}")
    packed = Image.fromarray(pack(scribble, mask)).resize(size, Image.Resampling.NEAREST)
    resized = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(resized), np.asarray(packed), float(mask.mean())


def _reserve(folder: Path, needed: int) -> None:
    """Check the free space first: running out of it in a memory map kills the process."""
    free = shutil.disk_usage(folder).free
    if free < needed * 1.05:
        raise UserError(
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
        raise UserError(f"{entry.parent}: the cache of decoded images cannot be written ({error.strerror})") from None
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
