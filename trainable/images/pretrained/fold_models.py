"""The fold models of a finished run, each of which never saw the images of its fold."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean

from trainable.data.folds import Folds, load_folds
from trainable.errors import UserError
from trainable.printing import plural
from trainable.storage.atomic_files import cache_folder
from trainable.storage.cached_copies import fetch
from trainable.storage.checked_json import read_checked
from trainable.storage.file_locks import locked
from trainable.storage.object_store import Store
from trainable.storage.shared_file import SharedFile, open_shared
from trainable.storage.urls import is_url

RUNS, CONFIGS = "runs", "configs"
SPACE, FOLDS, SCORES, BEST = "space.yaml", "folds.json", "scores.json", "best.pt"
RECORDS = (SPACE, FOLDS, f"{CONFIGS}/*/fold_*/{SCORES}")


def fold_file(source: str, fold: int) -> str:
    """The name of a fold model among the files that fold trials of a run need."""
    return f"{source}, fold {fold}"


@dataclass(frozen=True)
class FoldModels:
    """``source`` is what a config names; the files are those of one config of the run, one per fold."""

    source: str
    config: str
    folds: Folds
    files: tuple[SharedFile, ...]

    def named(self) -> dict[str, SharedFile]:
        return {fold_file(self.source, fold): file for fold, file in enumerate(self.files)}

    def check_folds(self, folds: Folds) -> None:
        """Raise an error unless the models held out the same images of the same data."""
        theirs = self.folds
        if theirs.data_hash != folds.data_hash:
            problem = f"its data are others ({theirs.data_hash[:12]}, these are {folds.data_hash[:12]})"
        elif theirs.count != folds.count:
            problem = f"it has {theirs.count} folds, here there are {folds.count}"
        elif moved := sorted(s for s in folds.assignment if theirs.assignment.get(s) != folds.assignment[s]):
            first = moved[0]
            problem = (
                f"{plural(len(moved), 'image')} of {len(folds.assignment)} held out in other folds, such as {first} "
                f"({theirs.assignment.get(first)}, here {folds.assignment[first]}); its fold_seed is {theirs.seed}, "
                f"here it is {folds.seed}"
            )
        else:
            return
        raise UserError(f"features_from = {self.source}: needs the same data and folds: {problem}")


def open_fold_models(source: str) -> FoldModels:
    """The models of a run's winner, or of the config whose folder is given; raises if a fold has none."""
    try:
        place = _StoredRun.at(source) if is_url(source) else _RunFolder.at(source)
        return _models(source, place)
    except UserError as error:
        raise UserError(f"features_from = {source}: {str(error).removeprefix(f'{source}: ')}") from None


def _models(source: str, place: _RunFolder) -> FoldModels:
    space = read_checked(place.folder / SPACE)
    kind = space.get("trainable", "fold")
    if kind != "fold":
        raise UserError(f"its fold trials are {kind}, which leave no models of networks")
    folds = load_folds(place.folder / FOLDS)
    config = place.config or _winner(place, folds.count, space["metric"]["name"])
    missing = [f"fold_{fold}" for fold in range(folds.count) if not place.has_model(config, fold)]
    if missing:
        raise UserError(f"config {config} has no finished model of {', '.join(missing)}")
    return FoldModels(source, config, folds, tuple(place.model(config, fold) for fold in range(folds.count)))


def _winner(place: _RunFolder, folds: int, metric: str) -> str:
    """The complete config with the best mean score, as ``python -m analysis best`` selects it."""
    means = {}
    for folder in sorted((place.folder / CONFIGS).glob("*")):
        paths = [folder / f"fold_{fold}" / SCORES for fold in range(folds)]
        if all(place.has_model(folder.name, fold) and path.exists() for fold, path in enumerate(paths)):
            means[folder.name] = fmean(read_checked(path)["last"]["working"][metric] for path in paths)
    if not means:
        raise UserError("no config of this run has finished models of all folds")
    return max(means, key=lambda config: means[config])


@dataclass(frozen=True)
class _RunFolder:
    """A run on disk; ``config`` is the one whose folder was given, if any."""

    folder: Path
    config: str | None

    @classmethod
    def at(cls, source: str) -> _RunFolder:
        for path in (Path(source), Path(RUNS, source)):
            if (path / SPACE).exists():
                return cls(path, None)
            if path.parent.name == CONFIGS and (path.parents[1] / SPACE).exists():
                return cls(path.parents[1], path.name)
        raise UserError(f"no such run, here or in {RUNS}/")

    def has_model(self, config: str, fold: int) -> bool:
        folder = self.folder / CONFIGS / config / f"fold_{fold}"
        return (folder / BEST).exists() and (folder / SCORES).exists()

    def model(self, config: str, fold: int) -> SharedFile:
        return open_shared(str((self.folder / CONFIGS / config / f"fold_{fold}" / BEST).absolute()))


@dataclass(frozen=True)
class _StoredRun(_RunFolder):
    """A run in an object store: its records are downloaded to ``folder``, a model when it is opened."""

    store: Store
    names: frozenset[str]

    @classmethod
    def at(cls, source: str) -> _StoredRun:
        store, config = Store(source), None
        above = store.address.parent
        if above.name == CONFIGS:
            store, config = Store(above.parent), store.address.name
        entries = store.names()
        if SPACE not in entries:
            raise UserError("no such run in the object store")
        folder = cache_folder() / "fold_models" / store.address.digest
        wanted = {name: each for name, each in entries.items() if any(fnmatchcase(name, path) for path in RECORDS)}
        with locked(folder.with_suffix(".lock")):
            fetch(store, wanted, folder)
        return cls(folder, config, store, frozenset(entries))

    def has_model(self, config: str, fold: int) -> bool:
        names = (f"{CONFIGS}/{config}/fold_{fold}/{name}" for name in (BEST, SCORES))
        return all(name in self.names for name in names)

    def model(self, config: str, fold: int) -> SharedFile:
        return open_shared(str(self.store.address.under(CONFIGS, config, f"fold_{fold}", BEST)))
