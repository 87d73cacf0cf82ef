"""The log of a fold: lines for people, written by the fold loop and the driver."""

from datetime import datetime
from pathlib import Path

from trainable.storage.atomic_files import append_line

LOG_FILE = "log.txt"


def note(folder: Path, text: str) -> None:
    append_line(folder / LOG_FILE, f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}")
