"""The run folder: the space, the environment it was launched in, and all results."""

import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.race.score_table import Cell
from search.runs.journal import Line, is_driven, read_journal
from spaces.load import make_space
from spaces.space import Point, Space
from trainable.config import PLUGINS
from trainable.data.folds import Folds, load_folds
from trainable.errors import UserError
from trainable.storage.checked_json import read_checked, write_checked

SPACE, ENVIRONMENT, FOLDS, JOURNAL = "space.yaml", "env.json", "folds.json", "journal.jsonl"
CONFIG = "config.json"
CONFIGSPACE = "configspace.json"
SPACE_ADVICE = (
    "undo what was changed in it, or restore it from a copy: launching the same space with the same --set and with "
    "another --runs writes the same file, before anything is trained"
)
STOP_FILE = "stop"
DATABASE = "optuna.db"  # of an Optuna study in the run's folder
CODE, DATA, FOLDS_HASH, WEIGHTS = "code", "data_hash", "folds_hash", "encoder_weights"


@dataclass(frozen=True)
class Run:
    """The folder of one run. Its state is in the journal; the other files describe what was launched."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL

    @property
    def driven(self) -> bool:
        """Whether a driver of this run is running on this machine."""
        return is_driven(self.journal)

    @property
    def address(self) -> str:
        """How commands refer to the run."""
        return shlex.quote(str(self.folder))

    @property
    def root(self) -> str:
        """The value of ``--runs`` with which commands find the run by its name."""
        return str(self.folder.parent)

    @property
    def resume_command(self) -> str:
        """The command that resumes the run."""
        space = self.folder / SPACE
        renamed = [] if _name_in(space) in (None, self.name) else ["--set", self.named]
        return shlex.join(["python", "-m", "search", "launch", str(space), "--runs", self.root, *renamed])

    @property
    def named(self) -> str:
        """The override that gives a space this name, in quotes because it may look like a number."""
        return f'name="{self.name}"'

    def command(self, name: str, *words: str) -> str:
        """A command of the search for this run."""
        return shlex.join(["python", "-m", "search", name, self.name, *words, "--runs", self.root])

    def fold_folder(self, config: str, fold: int) -> Path:
        return fold_folder(self.folder, config, fold)

    def fold_files(self, cells: Iterable[Cell]) -> dict[Cell, dict[str, int]]:
        """The size of every file in the folders of these fold trials."""
        return {cell: _sizes(self.fold_folder(*cell)) for cell in cells}

    def remove_fold_files(self, names: Mapping[Cell, Iterable[str]]) -> None:
        """Remove files of fold trials; only the driver may do so."""
        for cell, each in names.items():
            for name in each:
                (self.fold_folder(*cell) / name).unlink(missing_ok=True)

    @property
    def job_settings(self) -> dict[str, str]:
        """What its jobs need to know besides the folder."""
        return {}

    @property
    def journal_may_lag(self) -> bool:
        """Whether fold folders may hold reports that the journal lacks."""
        return False

    def refresh(self) -> None:
        """Download changes of the run; a run on disk has none."""

    def fetch(self, *patterns: str) -> None:
        """Download the files that match these patterns; a run on disk has them."""

    def publish(self, *written: Path) -> None:
        """Upload files and folders that an analysis has written into the run; a run on disk has them."""

    def request_stop(self) -> None:
        (self.folder / STOP_FILE).touch()

    def forget_stop(self) -> None:
        """Remove a request that was meant for an earlier driver; called once, as soon as nobody else drives the run."""
        (self.folder / STOP_FILE).unlink(missing_ok=True)

    def lines(self) -> list[Line]:
        return read_journal(self.journal)

    def space(self) -> Space:
        # The file is JSON, which is also YAML, so that it can be launched by hand.
        path = self.folder / SPACE
        tree = self._recorded_space()
        if not isinstance(tree.get(PLUGINS, {}), Mapping):  # a run that is only read names no file to execute
            raise UserError(f"{path}: {PLUGINS}: must have the hash of each plugin, as a launch writes it")
        return make_space(tree, str(path))

    @property
    def minimizes(self) -> bool:
        """Whether lower scores are better, read without executing the plugins of the space."""
        metric = self._recorded_space().get("metric")
        return isinstance(metric, Mapping) and metric.get("goal") == "minimize"

    def recorded_rule(self) -> str:
        """The rule for weights of the last launch; runs of earlier versions keep all."""
        return str(self._recorded_space().get("keep", "all"))

    def _recorded_space(self) -> dict[str, Any]:
        return read_checked(self.folder / SPACE, SPACE_ADVICE)

    def environment(self) -> dict[str, Any]:
        """The facts that were recorded at the launch."""
        return read_checked(self.folder / ENVIRONMENT)

    def folds(self, data_hash: str | None = None) -> Folds:
        """The folds, which must be those of the launch, and of these data if given."""
        path, settings = self.folder / FOLDS, self.space().settings
        folds = load_folds(path, data_hash)
        known = self.environment().get(FOLDS_HASH, folds.hash)
        if (folds.hash, folds.count, folds.seed) != (known, settings.folds, settings.fold_seed):
            raise UserError(f"{path}: is not as it was written at the launch; remove it and launch the run again")
        return folds

    def record_config(self, point: Point) -> None:
        """Write what defines a config, unless it is there."""
        path = self.folder / "configs" / point.id / CONFIG
        with suppress(UserError):
            if read_checked(path).get("values") == dict(point.values):  # else a parameter is searched that was fixed
                return
        write_checked(
            path, {"id": point.id, "values": dict(point.values), "config": point.config.model_dump(mode="json")}
        )

    def config(self, config: str) -> dict[str, Any]:
        """What ``record_config`` wrote."""
        return read_checked(self.folder / "configs" / config / CONFIG, "launch the run again, which writes it anew")


def fold_folder(run: Path, config: str, fold: int) -> Path:
    return run / "configs" / config / f"fold_{fold}"


def _sizes(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def _name_in(path: Path) -> str | None:
    """The name that a space file gives its run; None if it cannot be read."""
    try:
        return str(read_checked(path)["name"])
    except (UserError, KeyError):
        return None
