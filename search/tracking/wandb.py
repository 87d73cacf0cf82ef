"""W&B: a run for each fold trial, grouped by config; WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE are W&B's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from search.tracking.identity import identity
from search.tracking.tracker import TrackedTrial, library


def make(folder: Path) -> WandB:
    return WandB(folder)


class WandB:
    """A run is found again by its id, which follows from the run folder's own id, the config and the fold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = library("wandb", "wandb")
        self.project = os.environ.get("WANDB_PROJECT") or folder.name
        self.runs: dict[str, Any] = {}

    @property
    def place(self) -> str:
        return f"wandb, project {self.project}"

    def open(self, trial: TrackedTrial) -> int:
        run = self.library.init(
            project=self.project,
            id=f"{identity(self.folder)}-{trial.config}-{trial.fold}",
            name=f"{trial.config} fold {trial.fold}",
            group=trial.config,
            config={"fold": trial.fold, **trial.parameters},
            dir=str(self.folder),
            resume="allow",
            reinit="create_new",  # several fold trials are open at once
            settings=self.library.Settings(silent=True, console="off"),
        )
        self.runs[trial.name] = run
        return int(run.step) - 1 if run.resumed else 0  # it counts to the step that comes next

    def report(self, trial: TrackedTrial, step: int, score: float, seconds: float, at: float) -> None:
        self.runs[trial.name].log({"score": score, "seconds": seconds}, step=step)

    def close(self, trial: TrackedTrial, state: str, reason: str) -> None:
        run = self.runs.pop(trial.name)
        run.tags = (state,)
        run.summary.update({"state": state, "reason": reason})
        run.finish(exit_code=1 if state == "failed" else 0)
