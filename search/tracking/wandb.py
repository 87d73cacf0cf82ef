"""W&B: one run per fold trial, grouped by config; W&B itself reads WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from search.tracking.identity import identity
from search.tracking.tracker import TrackedTrial, library


def make(folder: Path) -> WandB:
    return WandB(folder)


class WandB:
    """Finds existing runs by their id, which is made of the id of the run folder, the config and the fold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = library("wandb", "wandb")
        self.project = os.environ.get("WANDB_PROJECT") or folder.name
        self.runs: dict[str, Any] = {}

    @property
    def location(self) -> str:
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
        return int(run.step) - 1 if run.resumed else 0  # W&B's step is the next one

    def report(self, trial: TrackedTrial, step: int, score: float, seconds: float, at: float) -> None:
        self.runs[trial.name].log({"score": score, "seconds": seconds}, step=step)

    def close(self, trial: TrackedTrial, state: str, reason: str) -> None:
        run = self.runs.pop(trial.name)
        run.tags = (state,)
        run.summary.update({"state": state, "reason": reason})
        run.finish(exit_code=1 if state == "failed" else 0)
