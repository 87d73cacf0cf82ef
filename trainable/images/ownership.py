"""Which fold trial a folder belongs to."""

import json
from pathlib import Path
from typing import Any

from trainable.config import ImageConfig
from trainable.data.folds import Folds
from trainable.errors import UserError
from trainable.storage.atomic_files import write_json

TRIAL_FILE = "trial.json"


def claim(folder: Path, config: ImageConfig, folds: Folds, fold: int) -> None:
    """Record the fold trial in its folder; the folder of another one is refused."""
    ours = config.model_dump(mode="json") | {"fold": fold, "data": folds.data_hash, "folds": folds.hash}
    path = folder / TRIAL_FILE
    if not path.exists():
        write_json(path, ours)
        return
    theirs: dict[str, Any] = json.loads(path.read_text())
    keys = sorted(theirs.keys() | ours.keys())
    if differences := [f"{k} = {theirs.get(k)}, not {ours.get(k)}" for k in keys if theirs.get(k) != ours.get(k)]:
        raise UserError(f"{path}: is of another fold trial: {'; '.join(differences)}. Choose another folder")
