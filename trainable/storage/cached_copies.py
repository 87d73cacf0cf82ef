"""Local copies of objects in an object store: fetched once, and again when they have changed.

A copy carries the modification time of its object, so a listing is enough to see what must be fetched.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from trainable.errors import UserError
from trainable.printing import Progress, progress_bar
from trainable.storage.atomic_files import cache_folder, remove_partial
from trainable.storage.file_locks import locked
from trainable.storage.object_store import Entry, Store
from trainable.storage.s3_client import NotThere
from trainable.storage.urls import inside, is_url, read_url

AT_ONCE = 8


def fetch(store: Store, entries: Mapping[str, Entry], folder: Path, progress: Progress | None = None) -> None:
    """Download these objects into a folder under their own names; up-to-date copies are kept."""
    wanted = [(name, inside(folder, name)) for name, entry in entries.items()]
    missing = [(name, path) for name, path in wanted if not _is_copy(path, entries[name])]

    def bring(one: tuple[str, Path]) -> None:
        name, path = one
        with suppress(NotThere):  # removed since it was listed
            store.get(name, path)
            if path.stat().st_size == entries[name].size:  # otherwise it is newer than the listing
                os.utime(path, (entries[name].mtime, entries[name].mtime))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done, _ in enumerate(pool.map(bring, missing), 1):
            if progress:
                progress(done, len(missing))


def data_folder(data: str | Path) -> Path:
    """The local folder of a data set: the folder itself, or the cached copy of one in an object store."""
    if not is_url(data):
        return Path(data)
    store = Store(str(data))
    folder = cache_folder() / "data" / store.address.digest
    with locked(folder.with_suffix(".lock")):
        entries = store.names()
        if not entries:
            raise UserError(f"{store.address.plain}: is empty; a data set has splits such as train/images")
        with progress_bar("fetching data", after=1.0) as progress:
            fetch(store, entries, folder, progress)
        _remove_others(folder, entries)
    return folder


def local_file(name: str) -> Path:
    """The local path of a file: its own, or that of the cached copy of an object."""
    if not is_url(name):
        return Path(name)
    address = read_url(name)
    store, folder = Store(address.parent), cache_folder() / "files" / address.digest
    with locked(folder.with_suffix(".lock")):
        entry = store.entry(address.name) if address.prefix else None
        if entry is None:
            raise UserError(f"{address.plain}: there is no such object")
        with progress_bar(f"fetching {address.name}", after=1.0) as progress:
            fetch(store, {address.name: entry}, folder, progress)
    return folder / address.name


def _is_copy(path: Path, entry: Entry) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_size == entry.size and abs(found.st_mtime - entry.mtime) < 1e-3


def _remove_others(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Remove copies of objects that are no longer in the store."""
    remove_partial(folder)
    for path in folder.rglob("*"):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in entries:
            path.unlink()
