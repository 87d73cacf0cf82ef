"""Uploads the files that a driver writes to the object store of its run, every few seconds and at the end.

The driver writes its local folder as for any other run, so an unreachable store does not stop it.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from search.run_storage.journal_segments import JournalDiverged, SegmentUploader
from search.run_storage.lease import Lease
from search.runs.run_folder import JOURNAL, STOP_FILE
from trainable.errors import UserError
from trainable.printing import say
from trainable.storage.atomic_files import TEMPORARY
from trainable.storage.object_store import Store, StoreFailed

INTERVAL = 3.0  # seconds
FOLDERS = ("tensorboard",)
DATABASE = ".db"


class Mirror:
    """Runs inside ``with``; at the end everything is in the store, or an error says which folder holds it."""

    def __init__(self, store: Store, folder: Path, lease: Lease, overwrite: bool) -> None:
        self.store, self.folder, self.lease = store, folder, lease
        self._journal = SegmentUploader(store, folder / JOURNAL, overwrite)
        self._uploaded: dict[str, tuple[int, int]] = {}  # size and modification time by name
        self._unreachable = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def __enter__(self) -> Mirror:
        self.store.delete(STOP_FILE)  # meant for an earlier driver
        (self.folder / STOP_FILE).unlink(missing_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()
        try:
            if not self.lease.lost:
                self._upload(self.store)
        except JournalDiverged:
            self.lease.lost = True
        except StoreFailed as failed:
            raise UserError(
                f"{failed}. {self.folder} holds everything that the store lacks; launch again to resume and upload it"
            ) from None
        if self.lease.lost:
            raise UserError(
                f"{self.store.address.plain}: another driver took this run over while the store was unreachable; "
                f"what this driver did since then is only in {self.folder}"
            )

    def _run(self) -> None:
        store = self.store.patient(0)  # no retries: the next round is one
        while not self._stopping.wait(INTERVAL):
            try:
                self._check_for_stop(store)
                if self.lease.lost:
                    return
                self._upload(store)
                self._announce(unreachable=False)
            except JournalDiverged:
                self.lease.lost = True
            except (StoreFailed, OSError) as problem:
                self._announce(unreachable=True, problem=str(problem))

    def _check_for_stop(self, store: Store) -> None:
        """Stop the local driver if a stop was requested through the store, or if another driver has the lease."""
        requested = not self.lease.lost and store.entry(STOP_FILE) is not None
        if requested or self.lease.lost:
            (self.folder / STOP_FILE).touch()
        if requested:
            store.delete(STOP_FILE)

    def _announce(self, unreachable: bool, problem: str = "") -> None:
        """Say once that the store became unreachable, and once that it is reachable again."""
        if unreachable != self._unreachable:
            restored = f"{self.store.address.plain}: is reachable again"
            say(f"{problem}; the run continues and uploads later" if unreachable else restored)
        self._unreachable = unreachable

    def _upload(self, store: Store) -> None:
        """Files come before the journal, so that every file that the journal mentions is there."""
        for path in self._files():
            found = path.stat()
            state = found.st_size, found.st_mtime_ns
            name = path.relative_to(self.folder).as_posix()
            if self._uploaded.get(name) != state:
                store.write(name, read_content(path))
                self._uploaded[name] = state
        self._journal.push(store)

    def _files(self) -> Iterator[Path]:
        """The files that the driver writes; workers upload those of the folds."""
        if not self.folder.exists():
            return
        skipped = (JOURNAL, STOP_FILE)
        patterns = ("*", "configs/*/config.json", "configs/*/fold_*/error.txt", *(f"{each}/**/*" for each in FOLDERS))
        for pattern in patterns:
            for path in sorted(self.folder.glob(pattern)):
                temporary = path.name.startswith(TEMPORARY) or f"{DATABASE}-" in path.name
                if path.is_file() and path.name not in skipped and not temporary:
                    yield path


def read_content(path: Path) -> bytes:
    """The content of a file; of a database, which others may be writing to, what has been committed."""
    if path.suffix == DATABASE:
        with suppress(sqlite3.Error), tempfile.TemporaryDirectory() as scratch:  # a damaged one is uploaded as it is
            copy = Path(scratch) / path.name
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            return copy.read_bytes()
    return path.read_bytes()
