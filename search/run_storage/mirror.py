"""What a driver writes, sent to the object store that its run lives in, every few seconds and at the end.

The folder on the driver's disk is written as any run's is; a store that is away for a while stops nothing.
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

EVERY = 3.0  # seconds
FOLDERS = ("tensorboard",)
DATABASE = ".db"


class Mirror:
    """Runs from ``with`` to its end, when everything is in the store, or an error says where it is."""

    def __init__(self, store: Store, folder: Path, lease: Lease, anew: bool) -> None:
        self.store, self.folder, self.lease = store, folder, lease
        self._segments = SegmentUploader(store, folder / JOURNAL, anew)
        self._sent: dict[str, tuple[int, int]] = {}
        self._away = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mirror", daemon=True)

    def __enter__(self) -> Mirror:
        self.store.delete(STOP_FILE)  # meant for a driver before this one
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        try:
            if not self.lease.lost:
                self._push(self.store)
        except JournalDiverged:
            self.lease.lost = True
        except StoreFailed as failed:
            raise UserError(
                f"{failed}. {self.folder} holds everything that the store lacks; the same launch goes on, and sends it"
            ) from None
        if self.lease.lost:
            raise UserError(
                f"{self.store.address.plain}: another driver has taken this run over while the store was out of reach; "
                f"what this one did since is in {self.folder} alone"
            )

    def _follow(self) -> None:
        store = self.store.patient(0)  # the next round is the next try
        while not self._over.wait(EVERY):
            try:
                self._look_for_an_end(store)
                if self.lease.lost:
                    return
                self._push(store)
                self._tell(False)
            except JournalDiverged:
                self.lease.lost = True
            except (StoreFailed, OSError) as problem:
                self._tell(True, str(problem))

    def _look_for_an_end(self, store: Store) -> None:
        """Asked for from elsewhere; or another driver is at work, and this one must not go on."""
        asked = not self.lease.lost and store.entry(STOP_FILE) is not None
        if asked or self.lease.lost:
            (self.folder / STOP_FILE).touch()
        if asked:
            store.delete(STOP_FILE)

    def _tell(self, away: bool, problem: str = "") -> None:
        if away != self._away:
            say(f"{problem}; the run goes on, and is sent later" if away else f"{self.store.address.plain}: is back")
        self._away = away

    def _push(self, store: Store) -> None:
        """Files first: whoever reads the journal may want those that it speaks of."""
        for path in self._files():
            found = path.stat()
            state = found.st_size, found.st_mtime_ns
            name = path.relative_to(self.folder).as_posix()
            if self._sent.get(name) != state:
                store.write(name, read_content(path))
                self._sent[name] = state
        self._segments.push(store)

    def _files(self) -> Iterator[Path]:
        """What the driver writes; the folds' own files are sent by those who train them."""
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
    """A file as it stands; of a database, which others write to meanwhile, what has been committed."""
    if path.suffix == DATABASE:
        with suppress(sqlite3.Error), tempfile.TemporaryDirectory() as scratch:  # a damaged one goes as it is
            copy = Path(scratch) / path.name
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            return copy.read_bytes()
    return path.read_bytes()
