"""What a driver adds to the logs of the folds: what was asked of them, what was decided, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.engine.job_feed import fold_folder
from search.messages import Job
from trainable.training.fold_log import note


class FoldLog:
    """A watcher: each fold's own events go to its own log; the fold itself tells there of its steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        if (words := _words(event, facts)) is not None:
            folder = fold_folder(self.folder, Job(facts["config"], facts["fold"], until=0))
            folder.mkdir(parents=True, exist_ok=True)
            note(folder, words)


def _words(event: str, facts: Mapping[str, Any]) -> str | None:
    if event == "job":
        return f"handed out: to step {facts['until']}"
    if event == "report":
        return None if facts["stop"] is None else f"step {facts['step']}: {facts['stop']}"
    if event == "fault":
        return f"is tried again: {facts['fault']}"
    if event == "lost":
        return f"given back: {facts['fault']}"
    return f"failed for good: {facts['fault']}"
