"""The run folder: the space, the environment it was launched in, and all results."""

import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.race.score_table import Cell
from search.runs.growth import Growth, growth_of
from search.runs.journal import Line, is_driven, read_journal
from spaces.configspace import configspace
from spaces.load import make_space
from spaces.space import Point, Space
from trainable.config import PLUGINS, copy_plugins
from trainable.config import recorded as recorded_plugins
from trainable.data.folds import Folds, load_folds
from trainable.errors import UserError
from trainable.machine.versions import code_hashes, versions
from trainable.storage.atomic_files import write_json
from trainable.storage.checked_json import read_checked, write_checked, write_checked_yaml

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
# Settings that may differ at every launch, because no score depends on them. The data hash identifies the data.
CHANGEABLE = (
    *("name:", "data:", "keep:", "budget", "resources", "tracking", "references", "keep_probabilities", "on_end"),
    PLUGINS,  # whose hashes are part of the code
    *("sampler.storage", "parameters.acceleration"),
)


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
        renamed = [] if _name_in(space) in (None, self.name) else ["--set", f"name={self.name}"]
        return shlex.join(["python", "-m", "search", "launch", str(space), "--runs", self.root, *renamed])

    def command(self, name: str, *words: str) -> str:
        """A command of the search for this run."""
        return shlex.join(["python", "-m", "search", name, self.name, *words, "--runs", self.root])

    def fold_folder(self, config: str, fold: int) -> Path:
        return self.folder / "configs" / config / f"fold_{fold}"

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

    def publish(self) -> None:
        """Upload the results of an analysis; a run on disk has them."""

    def request_stop(self) -> None:
        (self.folder / STOP_FILE).touch()

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


def check_run(
    space: Space, run: Run, data_hash: str | None, force_code: bool, weights: Mapping[str, str] | None = None
) -> Growth:
    """Refuse to start or resume a run whose folder belongs to another space, other data or other code.

    ``weights`` are the hashes of the files that encoders start from, by name. Returns what the space has gained, with
    the changes of the budget. Nothing is written here, because another driver may be running.
    """
    folder = run.folder
    current = environment(data_hash, space)
    if not (folder / SPACE).exists():
        if folder.exists() and any(path.name not in (JOURNAL, ENVIRONMENT, CONFIGSPACE) for path in folder.iterdir()):
            raise UserError(
                f"{folder}: exists but is not a run (it has no {SPACE}); choose another name: --set name=..."
            )
        return Growth()
    growth = _growth(run, space)
    recorded = run.environment()
    if recorded[DATA] != current[DATA]:
        raise UserError(f"{folder}: the data have changed since it was launched, so scores would not be comparable")
    before = recorded.get(WEIGHTS, {})
    if other := [name for name, content in (weights or {}).items() if before.get(name) != content]:
        raise UserError(
            f"{folder}: the weights in {', '.join(other)} have changed since it was launched, so scores would not be "
            "comparable"
        )
    if recorded[CODE] != current[CODE] and not force_code:
        names = dict.fromkeys([*current[CODE], *recorded[CODE]])
        differ = [name for name in names if recorded[CODE].get(name) != current[CODE].get(name)]
        raise UserError(
            f"{folder}: the code has changed since it was launched ({', '.join(differ)});"
            " --force-code resumes it anyway"
        )
    return growth


def _growth(run: Run, space: Space) -> Growth:
    before = run.space()
    differences = before.difference(space)
    changed = [line for line in differences if not line.startswith(CHANGEABLE)]
    budget = [line for line in differences if line.startswith("budget")]
    try:
        growth = growth_of(before, space, changed, run.lines()) if changed else Growth()
    except UserError as refused:
        raise UserError(
            f"{run.folder}: was launched with a different space: {refused}. Choose another name: --set name=..."
        ) from None
    return replace(growth, changes=(*growth.changes, *budget))


def with_recorded_rule(space: Space, run: Run) -> Space:
    """The space with the run's rule for weights, unless it states one."""
    if "keep" in space.settings.model_fields_set or not (run.folder / SPACE).exists():
        return space
    return replace(space, settings=space.settings.model_copy(update={"keep": run.recorded_rule()}))


def record_launch(
    run: Run,
    space: Space,
    data_hash: str | None,
    labels: Mapping[str, Any] | None = None,
    weights: Mapping[str, str] | None = None,
    folds: Folds | None = None,
) -> None:
    """Write the files that describe the launch; only the driver may do so.

    ``labels`` are facts of the data that tables of the run are read with, ``weights`` as in ``check_run``.
    """
    files: dict[str, Any] = {WEIGHTS: dict(weights)} if weights else {}
    if folds is not None:
        files[FOLDS_HASH] = folds.hash
    write_checked(run.folder / ENVIRONMENT, {**environment(data_hash, space), **(labels or {}), **files})
    write_json(run.folder / CONFIGSPACE, configspace(space))
    # The order of the parameters determines the order of the configs.
    write_checked_yaml(run.folder / SPACE, space.canonical())
    copy_plugins(space.settings.plugins, run.folder)


def environment(data_hash: str | None, space: Space) -> dict[str, Any]:
    """Everything except the space's values that results depend on: versions, code and data."""
    plugins = {f"plugin {name}": content for name, content in recorded_plugins(space.settings.plugins).items()}
    packages = versions()
    return {
        "python": packages.pop("python"),
        "packages": packages,
        "commit": _commit(),
        CODE: code_hashes() | plugins,
        DATA: data_hash,
    }


def _commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return result.stdout.strip() or None


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
