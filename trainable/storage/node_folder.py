"""The local folder in which a fold trial or its pre-training works when its run is in an object store.

Its files are downloaded before the first step and uploaded every minute and at the end of the job. The checkpoint is
uploaded last: wherever an upload is interrupted, the store holds a state that a crash could also leave on a disk. A
process that dies leaves its folder; the next job of the fold on this node resumes from it unless another node has
continued the fold.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

from trainable.storage.atomic_files import TEMPORARY, cache_folder, write_json
from trainable.storage.file_locks import is_locked, try_lock
from trainable.storage.object_store import Entry, Store, StoreFailed
from trainable.storage.s3_client import NotThere
from trainable.storage.urls import inside

EVERY = 60.0  # minimum seconds between two uploads
CHECKPOINTS = ("last.pt", "last.json")  # of the fold loop and of the script
# Checkpoints in the store are complete, so the previous one is not needed; error.txt is written by the driver.
HANG_FILE = "hang.txt"
LEFT = ("previous.pt", "next.pt", HANG_FILE, "error.txt")
DAY = 86_400.0

Result = dict[str, Any]


class Overtaken(RuntimeError):
    """Another worker has continued this fold; this worker's files must not overwrite its files."""


class Workplace:
    """The folder of one job; its files are downloaded when the first report is requested."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.clock = store, clock
        self.pushed_at = clock()
        root = cache_folder() / "scratch"
        place = root / self.store.address.digest
        if is_locked(place.with_suffix(".lock")):  # by a process that was declared lost but is still running
            place = place.with_name(f"{place.name}-{os.getpid()}")
        self.folder = place
        self._lock, self._memory = place.with_suffix(".lock"), place.with_suffix(".json")
        self._seen: dict[str, Entry] = {}  # the objects at the last synchronisation
        self._sent: dict[str, tuple[int, int]] = {}  # the local files at the last synchronisation

    def carry(self, reports: Generator[Result, None, None]) -> Generator[Result, None, None]:
        """Pass on the reports of a fold that trains in ``folder``, and upload its files as it goes."""
        with self._held(), closing(reports):
            self._fetch()
            try:
                for report in reports:
                    if report.get("finished") or self.clock() - self.pushed_at > EVERY:
                        self._push()
                    yield report
            except GeneratorExit:
                reports.close()  # which may write a last checkpoint
                # An error could not be reported here; files that were not uploaded are used when the fold resumes.
                with suppress(StoreFailed, Overtaken):
                    self._leave()
                raise
            except (StoreFailed, Overtaken):
                raise
            except Exception:
                self._leave()
                raise
            self._leave()

    @contextmanager
    def _held(self) -> Iterator[None]:
        handle = try_lock(self._lock)
        if handle is None:
            raise RuntimeError(f"{self.folder}: another process has started training this fold here")
        try:
            os.utime(self._lock)
            _sweep(self.folder.parent)
            yield
        finally:
            os.close(handle)

    def _fetch(self) -> None:
        """Resume from what a process that died left here, otherwise from the store."""
        there = self._listed()
        if self._remembered() == there:
            self._seen = there
            return
        for path in self.folder.glob("*"):
            if path.name != HANG_FILE:  # the watchdog has it open
                path.unlink()
        for name in there:
            with suppress(NotThere):
                self.store.get(name, inside(self.folder, name))
        self._remember(there)
        self._sent = {path.name: _state(path) for path in self._files()}

    def _push(self) -> None:
        if self._listed() != self._seen:
            raise Overtaken(f"{self.store.address.plain}: another worker has continued this fold")
        for path in sorted(self._files(), key=lambda path: (path.name in CHECKPOINTS, path.stat().st_mtime_ns)):
            state = _state(path)
            if self._sent.get(path.name) != state:
                self.store.put(path, path.name)
                self._sent[path.name] = state
        self._remember(self._listed())
        self.pushed_at = self.clock()

    def _leave(self) -> None:
        self._push()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._memory.unlink(missing_ok=True)

    def _listed(self) -> dict[str, Entry]:
        return {name: entry for name, entry in self.store.names(deep=False).items() if name not in LEFT}

    def _files(self) -> list[Path]:
        return [
            path
            for path in self.folder.glob("*")
            if path.is_file() and path.name not in LEFT and not path.name.startswith(TEMPORARY)
        ]

    def _remember(self, seen: dict[str, Entry]) -> None:
        self._seen = seen
        write_json(self._memory, {name: astuple(entry) for name, entry in seen.items()})

    def _remembered(self) -> dict[str, Entry] | None:
        try:
            return {name: Entry(*entry) for name, entry in json.loads(self._memory.read_text()).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError):
            return None


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _sweep(root: Path) -> None:
    """Remove folders of dead processes that have not been used for a day."""
    for lock in root.glob("*.lock"):
        if time.time() - lock.stat().st_mtime > DAY and not is_locked(lock):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.with_suffix(".json").unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
