"""The run folder: the space, the environment it was launched in, and all results."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.runs.journal import Line, is_driven, read_journal
from spaces.configspace import configspace
from spaces.load import make_space
from spaces.space import Point, Space
from trainable.config import PLUGINS, copy_plugins
from trainable.config import recorded as recorded_plugins
from trainable.errors import UserError
from trainable.machine.versions import code_hashes, versions
from trainable.storage.atomic_files import write_json, write_text

SPACE, ENVIRONMENT, FOLDS, JOURNAL = "space.yaml", "env.json", "folds.json", "journal.jsonl"
CONFIGSPACE = "configspace.json"
STOP_FILE = "stop"
CODE, DATA, WEIGHTS = "code", "data_hash", "encoder_weights"
# Settings that may differ at every launch, because no score depends on them. The data hash identifies the data.
CHANGEABLE = (
    *("data", "budget", "resources", "tracking", "references", "keep_probabilities", "on_end"),
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
        return str(self.folder)

    @property
    def resume_command(self) -> str:
        """The command that resumes the run."""
        return f"python -m search launch {self.folder}/space.yaml"

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
        tree = _read_json(path)
        if not isinstance(tree.get(PLUGINS, {}), Mapping):  # a run that is only read names no file to execute
            raise UserError(f"{path}: {PLUGINS}: must have the hash of each plugin, as a launch writes it")
        return make_space(tree, str(path))

    def record_config(self, point: Point) -> None:
        path = self.folder / "configs" / point.id / "config.json"
        if not path.exists():
            write_json(
                path, {"id": point.id, "values": dict(point.values), "config": point.config.model_dump(mode="json")}
            )


def check_run(
    space: Space, run: Run, data_hash: str | None, force_code: bool, weights: Mapping[str, str] | None = None
) -> None:
    """Refuse to start or resume a run whose folder belongs to another space, other data or other code.

    ``weights`` are the hashes of the files that encoders start from, by name. Nothing is written here, because another
    driver may be running.
    """
    folder = run.folder
    current = environment(data_hash, space)
    if not (folder / SPACE).exists():
        if folder.exists() and any(path.name not in (JOURNAL, ENVIRONMENT, CONFIGSPACE) for path in folder.iterdir()):
            raise UserError(
                f"{folder}: exists but is not a run (it has no {SPACE}); choose another name: --set name=..."
            )
        return
    changed = [line for line in run.space().difference(space) if not line.startswith(CHANGEABLE)]
    if changed:
        raise UserError(
            f"{folder}: was launched with a different space: {'; '.join(changed)}. Choose another name: --set name=..."
        )
    recorded = _read_json(folder / ENVIRONMENT)
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


def record_launch(
    run: Run,
    space: Space,
    data_hash: str | None,
    labels: Mapping[str, Any] | None = None,
    weights: Mapping[str, str] | None = None,
) -> None:
    """Write the files that describe the launch; only the driver may do so.

    ``labels`` are facts of the data that tables of the run are read with, ``weights`` as in ``check_run``.
    """
    files = {WEIGHTS: dict(weights)} if weights else {}
    write_json(run.folder / ENVIRONMENT, {**environment(data_hash, space), **(labels or {}), **files})
    write_json(run.folder / CONFIGSPACE, configspace(space))
    # JSON keeps the order of the parameters, which determines the order of the configs.
    write_text(run.folder / SPACE, json.dumps(space.canonical(), indent=2) + "\n")
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


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: is not a JSON object, so this is not a valid run folder")
    return value
