"""Which fold trial a folder belongs to."""

from pathlib import Path

from trainable.config import ImageConfig
from trainable.data.folds import Folds
from trainable.errors import UserError
from trainable.storage.checked_json import read_checked, write_checked

TRIAL_FILE = "trial.json"


def claim(folder: Path, config: ImageConfig, folds: Folds, fold: int) -> None:
    """Record the fold trial in its folder; the folder of another one is refused."""
    ours = config.model_dump(mode="json") | {"fold": fold, "data": folds.data_hash, "folds": folds.hash}
    path = folder / TRIAL_FILE
    if not path.exists():
        write_checked(path, ours)
        return
    theirs = read_checked(path, "remove it if this is the folder of the same fold trial")
    keys = sorted(theirs.keys() | ours.keys())
    if differences := [f"{k} = {theirs.get(k)}, not {ours.get(k)}" for k in keys if theirs.get(k) != ours.get(k)]:
        raise UserError(f"{path}: is of another fold trial: {'; '.join(differences)}. Choose another folder")
