"""The folder that is written: refused if it holds other things, and a split appears in it only when complete.

A split is written below ``.unfinished``, where no other program looks for data, and moved to its place at the end.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainable.data.dataset import IMAGES, SCRIBBLES, TRUTH
from trainable.errors import UserError
from trainable.storage.atomic_files import sync_folder, write_json, write_text

UNFINISHED, RECORD, DESCRIPTION = ".unfinished", "import.json", "dataset.yaml"


@dataclass(frozen=True)
class Destination:
    """One split of a data set, the record of what it is imported from, and what dataset.yaml says."""

    folder: Path
    split: str
    record: dict[str, Any]
    description: dict[str, Any]

    @property
    def finished(self) -> Path:
        return self.folder / self.split

    @property
    def unfinished(self) -> Path:
        return self.folder / UNFINISHED / self.split

    def begin(self) -> None:
        """Record the import before its first file, so that another one is not mixed with it."""
        if not (self.unfinished / RECORD).exists():
            write_json(self.unfinished / RECORD, self.record)

    def finish(self) -> None:
        """Make the split visible; dataset.yaml comes first, so that it is never read without its classes."""
        if not (self.folder / DESCRIPTION).exists():
            text = yaml.safe_dump(self.description, default_flow_style=None, sort_keys=False, allow_unicode=True)
            write_text(self.folder / DESCRIPTION, text)
        self.unfinished.replace(self.finished)
        with suppress(OSError):  # another split is being imported
            self.unfinished.parent.rmdir()
        sync_folder(self.folder)


def check_destination(destination: Destination) -> None:
    """Refuse a folder in which something else would be overwritten or mixed with the import."""
    folder, split = destination.folder, destination.split
    if not re.fullmatch(r"\w[\w.-]*", split) or split in (IMAGES, SCRIBBLES, TRUTH):
        raise UserError(f"--split {split!r}: use letters, digits, '-', '_' and '.', and no name of a split's folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is not a folder")
    if not folder.exists():
        return
    foreign = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".") and _is_foreign(path)]
    if foreign:
        shown = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise UserError(f"{folder}: contains what no import has written ({shown}); use a new or empty folder")
    if destination.finished.is_dir():
        _check_record(destination, destination.finished, "choose another --split or another folder")
    elif (destination.unfinished / RECORD).exists():
        advice = f"finish it with the same options or remove {destination.unfinished}"
        _check_record(destination, destination.unfinished, advice)
    _check_description(destination)


def _is_foreign(path: Path) -> bool:
    return path.name != DESCRIPTION and not (path / RECORD).is_file()


def _check_record(destination: Destination, split: Path, advice: str) -> None:
    try:
        before = json.loads((split / RECORD).read_text())
        differing = sorted(key for key in before | destination.record if before.get(key) != destination.record.get(key))
    except (ValueError, TypeError):
        raise UserError(f"{split / RECORD}: is damaged; remove {split}") from None
    if differing:
        shown = ", ".join(f"{key} {_shown(before.get(key))}" for key in differing)
        raise UserError(f"{split}: holds an import with {shown}; {advice}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "not given" if value is None else str(value)


def _check_description(destination: Destination) -> None:
    path = destination.folder / DESCRIPTION
    if not path.exists():
        return
    try:
        there = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    for key in ("classes", "ignore_label"):
        before = there.get(key) if isinstance(there, dict) else None
        wanted = destination.description.get(key)
        if before != wanted:
            raise UserError(
                f"{path}: {key} is {_shown(before)}, this import has {_shown(wanted)}; "
                "the splits of a data set share their classes, so use another folder"
            )
