"""The driver's entries in the log of each fold: jobs, verdicts and faults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.runs.run_folder import fold_folder
from trainable.training.fold_log import note


class FoldLog:
    """A listener that writes each event to the log of its fold; the worker logs the steps there itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        if (message := _message(event, facts)) is not None:
            folder = fold_folder(self.folder, facts["config"], facts["fold"])
            folder.mkdir(parents=True, exist_ok=True)
            note(folder, message)


def _message(event: str, facts: Mapping[str, Any]) -> str | None:
    if event == "job":
        return f"assigned: train until step {facts['until']}"
    if event == "report":
        return None if facts["stop"] is None else f"step {facts['step']}: {facts['stop']}"
    if event == "fault":
        return f"retried after: {facts['fault']}"
    if event == "lost":
        return f"job returned: {facts['fault']}"
    return f"failed: {facts['fault']}"
