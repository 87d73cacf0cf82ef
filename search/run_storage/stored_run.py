"""A run in an object store, and the folder of this machine that follows it: fetched as far as somebody needs it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from search.run_storage.journal_segments import pull
from search.run_storage.lease import LEASE, PROBE, Lease, is_held
from search.run_storage.mirror import Mirror
from search.runs.journal import is_driven
from search.runs.run_folder import JOURNAL, SPACE, STOP_FILE, Run
from trainable.errors import UserError, did_you_mean
from trainable.storage.atomic_files import cache_folder
from trainable.storage.cached_copies import fetch
from trainable.storage.file_locks import is_locked, locked
from trainable.storage.object_store import Entry, Store
from trainable.storage.urls import is_url

SENT_BACK = "analysis"
REPORTED = ("configs/*/config.json", "configs/*/fold_*/metrics.jsonl", "configs/*/fold_*/error.txt")


@dataclass(frozen=True)
class StoredRun(Run):
    """``folder`` is this machine's; ``mine`` where this process drives the run, ``behind`` where another machine
    drove it before: fold folders may be ahead of what it sent of its journal.
    """

    store: Store
    mine: bool = False
    behind: bool = False

    @property
    def address(self) -> str:
        return shlex.quote(self.store.url)

    @property
    def relaunch(self) -> str:
        return f"{super().relaunch} --runs {shlex.quote(str(self.store.address.parent))}"

    @property
    def job(self) -> dict[str, str]:
        return {"store": self.store.url}

    @property
    def driven(self) -> bool:
        return is_driven(self.journal) or (not self.mine and is_held(self.store, driver_record(self.folder)))

    def refresh(self) -> None:
        """Fetch what is new; a folder whose driver is at work on this machine is newer than the store."""
        note = driver_record(self.folder)
        if self.mine or is_locked(note.with_suffix(".lock")):
            return
        with locked(note.with_suffix(".reading")):
            pull(self.store, self.journal)
            fetch(self.store, _own_files(self.store, (".yaml", ".json")), self.folder)

    def fetch(self, *patterns: str) -> None:
        found = self.store.names("configs")
        wanted = {name: entry for name, entry in found.items() if any(fnmatchcase(name, each) for each in patterns)}
        fetch(self.store, wanted, self.folder)

    def publish(self) -> None:
        for path in sorted((self.folder / SENT_BACK).rglob("*")):
            if path.is_file():
                self.store.put(path, path.relative_to(self.folder).as_posix())

    def ask_to_stop(self) -> None:
        self.store.write(STOP_FILE, b"")


def local_folder(store: Store) -> Path:
    """Where this machine keeps its copy of a run, under the run's own name."""
    return cache_folder() / "runs" / store.address.parent.digest / store.address.name


def driver_record(folder: Path) -> Path:
    """What belongs to this machine alone lies beside the copy."""
    return folder.with_name(f".{folder.name}.driver")


def find_stored_run(name: str, root: str) -> StoredRun:
    """A run by its URL, or by its name in a root that is one."""
    if is_url(name):
        store = Store(name)
        root, name = str(store.address.parent), store.address.name
    else:
        store = Store(root).under(name)
    if store.entry(SPACE) is None:
        known = _names(Store(root))
        listed = f" Known: {', '.join(known)}." if known else ""
        raise UserError(f"{store.address.plain}: no such run.{did_you_mean(name, known)}{listed}")
    run = StoredRun(local_folder(store), store)
    run.refresh()
    return run


def all_stored_runs(root: str) -> list[Run]:
    return [find_stored_run(name, root) for name in _names(Store(root))]


def _names(root: Store) -> list[str]:
    return [name for name in root.folders() if root.entry(f"{name}/{SPACE}") is not None]


def _own_files(store: Store, suffixes: tuple[str, ...] = ("",)) -> dict[str, Entry]:
    """What lies right in the run's folder, without what drivers and watchers tell each other there."""
    found = store.names(deep=False)
    return {n: entry for n, entry in found.items() if n.endswith(suffixes) and n not in (LEASE, PROBE, STOP_FILE)}


@contextmanager
def acquire_run(root: str, name: str, rebuild: bool) -> Iterator[StoredRun]:
    """The run that this process alone drives until the end of ``with``, brought here and sent back."""
    store = Store(root).under(name)
    folder = local_folder(store)
    with Lease(store, driver_record(folder)) as lease:
        with locked(driver_record(folder).with_suffix(".reading")):
            behind = _bring(store, folder, rebuild) or lease.inherited
        run = StoredRun(folder, store, mine=True, behind=behind)
        if (behind or rebuild) and (folder / SPACE).exists():
            run.fetch(*REPORTED)
        with Mirror(store, folder, lease, rebuild):
            yield run


def _bring(store: Store, folder: Path, rebuild: bool) -> bool:
    """Whether something of the run is in the store that was not here."""
    new = not (folder / SPACE).exists()
    begun = store.entry(SPACE) is not None  # what was sent before it is of a run that has done nothing
    try:
        gained = pull(store, folder / JOURNAL)
    except UserError:
        if not rebuild:
            raise
        gained = False
    if begun and (new or gained):
        fetch(store, _own_files(store), folder)
    return begun and (new or gained)
