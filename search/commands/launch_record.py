"""What a launch records in the run folder, and which later launches it refuses."""

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.runs.growth import Growth, growth_of
from search.runs.run_folder import CODE, CONFIGSPACE, DATA, ENVIRONMENT, FOLDS_HASH, JOURNAL, SPACE, WEIGHTS, Run
from spaces.configspace import configspace
from spaces.space import Space
from trainable.config import PLUGINS, copy_plugins
from trainable.config import recorded as recorded_plugins
from trainable.data.folds import Folds
from trainable.errors import UserError
from trainable.machine.versions import code_hashes, versions
from trainable.storage.atomic_files import TEMPORARY, write_json
from trainable.storage.checked_json import write_checked, write_checked_yaml

# Settings that may differ at every launch, because no score depends on them. The data hash identifies the data.
CHANGEABLE = (
    *("name:", "data:", "keep:", "budget", "resources", "tracking", "references", "keep_probabilities", "on_end"),
    PLUGINS,  # whose hashes are part of the code
    *("sampler.storage", "parameters.acceleration"),
)
FIRST = (JOURNAL, ENVIRONMENT, CONFIGSPACE)  # files that a launch writes before the space


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
        present = [path.name for path in folder.iterdir()] if folder.exists() else []
        if any(name not in FIRST and not name.startswith(TEMPORARY) for name in present):
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
