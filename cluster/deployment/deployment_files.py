"""The deployment files that ship with the project: listing and copying them."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from trainable.errors import UserError, did_you_mean

FOLDER = Path(__file__).parents[1] / "files"


@dataclass(frozen=True)
class DeploymentFile:
    """A file that starts a cluster; its first comment states its purpose, the following ones the commands."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def purpose(self) -> str:
        lines = self.path.read_text().splitlines()
        return next(line for line in lines if line.startswith("# ")).removeprefix("# ")


def deployment_files() -> list[DeploymentFile]:
    return [DeploymentFile(path) for path in sorted(FOLDER.iterdir()) if path.is_file()]


def find_file(name: str) -> DeploymentFile:
    known = {file.name: file for file in deployment_files()}
    if name not in known:
        raise UserError(f"{name}: no such deployment file.{did_you_mean(name, known)} Known: {', '.join(known)}.")
    return known[name]


def copy_file(file: DeploymentFile, folder: Path) -> Path:
    """Copy a file for editing; an edited copy is never overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.name
    if target.exists() and target.read_bytes() != file.path.read_bytes():
        raise UserError(f"{target}: already exists and differs; remove it, or copy to another folder with --out")
    shutil.copy(file.path, target)
    return target
