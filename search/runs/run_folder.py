"""The run's folder: what was asked, under which circumstances, and everything that came of it."""

from __future__ import annotations

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
from trainable.errors import UserError
from trainable.machine.versions import code_hashes, versions
from trainable.storage.atomic_files import write_json, write_text

SPACE, ENVIRONMENT, FOLDS, JOURNAL = "space.yaml", "env.json", "folds.json", "journal.jsonl"
CONFIGSPACE = "configspace.json"
STOP_FILE = "stop"
CODE, DATA = "code", "data_hash"
# What may be another at every launch: no score depends on it. Data may have moved; what they are, their hash tells.
FREE = ("data", "budget", "resources", "tracking", "sampler.storage")


@dataclass(frozen=True)
class Run:
    """One launch of a space; the journal in it is the truth, the rest says what it is about."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL

    @property
    def driven(self) -> bool:
        """Whether a driver is at work on it now, on this machine."""
        return is_driven(self.journal)

    @property
    def address(self) -> str:
        """What names it in a command."""
        return str(self.folder)

    @property
    def resume_command(self) -> str:
        """The command that goes on with it."""
        return f"python -m search launch {self.folder}/space.yaml"

    @property
    def job(self) -> dict[str, str]:
        """What every job of it has to know besides its folder."""
        return {}

    @property
    def journal_may_lag(self) -> bool:
        """Whether fold folders may hold reports that its journal lacks."""
        return False

    def refresh(self) -> None:
        """Bring the folder up to date: on a disk it is."""

    def fetch(self, *patterns: str) -> None:
        """Bring files of such names into the folder: on a disk they are there."""

    def publish(self) -> None:
        """Send what was made of the run to where it lives: on a disk it is there."""

    def request_stop(self) -> None:
        (self.folder / STOP_FILE).touch()

    def lines(self) -> list[Line]:
        return read_journal(self.journal)

    def space(self) -> Space:
        # JSON is YAML: what is written for machines can be launched again by hand.
        return make_space(_read_json(self.folder / SPACE), str(self.folder / SPACE))

    def record_config(self, point: Point) -> None:
        path = self.folder / "configs" / point.id / "config.json"
        if not path.exists():
            write_json(
                path, {"id": point.id, "values": dict(point.values), "config": point.config.model_dump(mode="json")}
            )


def check_run(space: Space, run: Run, data_hash: str | None, force_code: bool) -> None:
    """Whether a run, new or gone on with, may be driven; one made for something else is refused with the difference.

    Nothing is written yet: another driver may be at work there.
    """
    folder = run.folder
    now = environment(data_hash)
    if not (folder / SPACE).exists():
        if folder.exists() and any(path.name not in (JOURNAL, ENVIRONMENT, CONFIGSPACE) for path in folder.iterdir()):
            raise UserError(f"{folder}: exists and is no run (it has no {SPACE}); choose another name: --set name=...")
        return
    changed = [line for line in run.space().difference(space) if not line.startswith(FREE)]
    if changed:
        raise UserError(
            f"{folder}: was launched with another space: {'; '.join(changed)}. Choose another name: --set name=..."
        )
    before = _read_json(folder / ENVIRONMENT)
    if before[DATA] != now[DATA]:
        raise UserError(f"{folder}: the data have changed since it was launched; its scores could not be compared")
    if before[CODE] != now[CODE] and not force_code:
        differ = [name for name in now[CODE] if before[CODE].get(name) != now[CODE][name]]
        raise UserError(
            f"{folder}: the code has changed since it was launched ({', '.join(differ)}); --force-code goes on"
        )


def record_launch(run: Run, space: Space, data_hash: str | None) -> None:
    """Write down what was asked; only the one driver of a run may."""
    write_json(run.folder / ENVIRONMENT, environment(data_hash))
    write_json(run.folder / CONFIGSPACE, configspace(space))
    # As JSON, which is YAML too, in the order of the space: it is the order in which configs come.
    write_text(run.folder / SPACE, json.dumps(space.canonical(), indent=2) + "\n")


def environment(data_hash: str | None) -> dict[str, Any]:
    """What a result depends on besides the space: versions, the code and the data."""
    packages = versions()
    return {
        "python": packages.pop("python"),
        "packages": packages,
        "commit": _commit(),
        CODE: code_hashes(),
        DATA: data_hash,
    }


def _commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: is not what a run's folder holds there")
    return value
