"""The files of a fold's folder that are the same for every kind of fold trial."""

from pathlib import Path

from trainable.errors import FoldFailed, UserError
from trainable.storage.atomic_files import remove_partial, write_json
from trainable.training.fold_log import note

METRICS_FILE, ERROR_FILE = "metrics.jsonl", "error.json"
FAILURE_FILE = "error.txt"  # written by the driver of a search that gives a fold up


def prepare(folder: Path) -> None:
    """Make the folder usable; why an earlier attempt failed is forgotten."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_partial(folder)
        for name in (ERROR_FILE, FAILURE_FILE):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be used as a folder ({error.strerror})") from None


def write_failure(folder: Path, failure: FoldFailed) -> None:
    """Record why a fold cannot be trained."""
    write_json(folder / ERROR_FILE, {"reason": failure.reason, "message": failure.message, "step": failure.step})
    note(folder, f"failed: {failure.message}")
