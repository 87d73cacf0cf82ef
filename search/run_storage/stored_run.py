"""A run in an object store and its local copy, which holds only the files that were needed so far."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from search.race.score_table import Cell
from search.run_storage.journal_segments import pull
from search.run_storage.lease import LEASE, PROBE, Lease, is_held
from search.run_storage.mirror import DATABASE, Mirror
from search.runs.journal import is_driven
from search.runs.run_folder import JOURNAL, SPACE, STOP_FILE, Run
from trainable.errors import UserError, did_you_mean
from trainable.storage.atomic_files import cache_folder
from trainable.storage.cached_copies import fetch
from trainable.storage.file_locks import is_locked, locked
from trainable.storage.object_store import Entry, Store
from trainable.storage.urls import is_url

PUBLISHED = "analysis"
FOLD_RECORDS = ("configs/*/config.json", "configs/*/fold_*/metrics.jsonl", "configs/*/fold_*/error.txt")


@dataclass(frozen=True)
class StoredRun(Run):
    """``folder`` is the local copy. ``driven_here``: this process drives the run; ``journal_may_lag``: another machine
    drove it before, so the fold folders may be ahead of the journal in the store.
    """

    store: Store
    driven_here: bool = False
    journal_may_lag: bool = False
    lease: Lease | None = None

    @property
    def address(self) -> str:
        return shlex.quote(self.store.url)

    @property
    def root(self) -> str:
        return str(self.store.address.parent)

    @property
    def job_settings(self) -> dict[str, str]:
        return {"store": self.store.url}

    @property
    def driven(self) -> bool:
        return is_driven(self.journal) or (not self.driven_here and is_held(self.store, driver_record(self.folder)))

    def refresh(self) -> None:
        """Download what is new, unless a driver on this machine is ahead of the store."""
        record = driver_record(self.folder)
        if self.driven_here or is_locked(record.with_suffix(".lock")):
            return
        with locked(record.with_suffix(".reading")):
            if pull(self.store, self.journal):
                _complete(self.folder).unlink(missing_ok=True)
            fetch(self.store, _top_level_files(self.store, (".yaml", ".json", ".py")), self.folder)

    def fetch(self, *patterns: str) -> None:
        folders = {pattern.partition("/")[0] for pattern in patterns}
        entries = {name: entry for folder in folders for name, entry in self.store.names(folder).items()}
        wanted = {name: entry for name, entry in entries.items() if any(fnmatchcase(name, each) for each in patterns)}
        fetch(self.store, wanted, self.folder)

    def fold_files(self, cells: Iterable[Cell]) -> dict[Cell, dict[str, int]]:
        found: dict[Cell, dict[str, int]] = {cell: {} for cell in cells}
        folders = {f"configs/{config}/fold_{fold}": (config, fold) for config, fold in found}
        for name, entry in self.store.names("configs").items() if found else ():
            folder, _, file = name.rpartition("/")
            if folder in folders:
                found[folders[folder]][file] = entry.size
        return found

    def remove_fold_files(self, names: Mapping[Cell, Iterable[str]]) -> None:
        """Also from the local copy. A driver that has lost the run removes nothing."""
        if self.lease is None or not self.lease.confirm():
            raise UserError(f"{self.store.address.plain}: another driver has taken this run over")
        for (config, fold), each in names.items():
            for name in each:
                self.store.delete(f"configs/{config}/fold_{fold}/{name}")
        super().remove_fold_files(names)

    def publish(self, *written: Path) -> None:
        """Not what is here from earlier, which another machine may have replaced since."""
        for path in written:
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and file.is_relative_to(self.folder / PUBLISHED):
                    self.store.put(file, file.relative_to(self.folder).as_posix())

    def request_stop(self) -> None:
        self.store.write(STOP_FILE, b"")

    def forget_stop(self) -> None:
        """The mirror has removed it: a request that has come since then, or a lost lease, is for this driver."""


def local_folder(store: Store) -> Path:
    """The folder for the local copy of a run; its name is the run's."""
    return cache_folder() / "runs" / store.address.parent.digest / store.address.name


def driver_record(folder: Path) -> Path:
    """The local record of the run's lease, next to the copy because it is never uploaded."""
    return folder.with_name(f".{folder.name}.driver")


def _complete(folder: Path) -> Path:
    """The local record that all files directly in the folder are as new as its journal, as they are for a driver."""
    return driver_record(folder).with_suffix(".complete")


def find_stored_run(name: str, root: str) -> StoredRun:
    """Look up a run by its URL, or by its name below a URL."""
    if is_url(name):
        store = Store(name)
        root, name = str(store.address.parent), store.address.name
    else:
        store = Store(root).under(name)
    if store.entry(SPACE) is None:
        existing = _names(Store(root))
        listed = f" Known: {', '.join(existing)}." if existing else ""
        raise UserError(f"{store.address.plain}: no such run.{did_you_mean(name, existing)}{listed}")
    run = StoredRun(local_folder(store), store)
    run.refresh()
    return run


def all_stored_runs(root: str) -> list[Run]:
    """All runs below a root as they were read last; ``refresh`` brings one up to date."""
    stores = [Store(root).under(name) for name in _names(Store(root))]
    return [StoredRun(local_folder(store), store) for store in stores]


def _names(root: Store) -> list[str]:
    return [name for name in root.folders() if root.entry(f"{name}/{SPACE}") is not None]


def _top_level_files(store: Store, suffixes: tuple[str, ...] = ("",)) -> dict[str, Entry]:
    """The files directly in the run's folder, except those that coordinate drivers."""
    entries = store.names(deep=False)
    return {n: entry for n, entry in entries.items() if n.endswith(suffixes) and n not in (LEASE, PROBE, STOP_FILE)}


@contextmanager
def acquire_run(root: str, name: str, rebuild: bool) -> Iterator[StoredRun]:
    """Hold the lease of a run inside ``with``: download the run, and mirror what this driver writes."""
    store = Store(root).under(name)
    folder = local_folder(store)
    with Lease(store, driver_record(folder)) as lease:
        with locked(driver_record(folder).with_suffix(".reading")):
            journal_may_lag = _download(store, folder, rebuild) or lease.inherited
        run = StoredRun(folder, store, driven_here=True, journal_may_lag=journal_may_lag, lease=lease)
        if (journal_may_lag or rebuild) and (folder / SPACE).exists():
            run.fetch(*FOLD_RECORDS)
        with Mirror(store, folder, lease, rebuild):
            yield run


def _download(store: Store, folder: Path, rebuild: bool) -> bool:
    """Bring the local copy up to date and return whether it, or its journal, gained anything.

    A copy that only other commands have read lacks the databases, of which the driver uploads its own.
    """
    new = not (folder / SPACE).exists() or not (folder / JOURNAL).exists()
    begun = store.entry(SPACE) is not None  # a run without a space file has not done anything yet
    try:
        gained = pull(store, folder / JOURNAL)
    except UserError:
        if not rebuild:
            raise
        gained = False
    if begun and (new or gained or not _complete(folder).exists()):
        for left in folder.glob(f"*{DATABASE}-*"):  # of a killed driver; SQLite would apply it to the file that comes
            left.unlink()
        fetch(store, _top_level_files(store), folder)
    _complete(folder).touch()
    return begun and (new or gained)
