"""MLflow: one run per fold trial, on the server of MLFLOW_TRACKING_URI or in a SQLite file in the run folder.

MLflow itself rejects its older store, a folder of text files, unless MLFLOW_ALLOW_FILE_STORE is set.
"""

from __future__ import annotations

import logging
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from search.tracking.identity import identity
from search.tracking.tracker import TrackedTrial, library

STATUS = {"done": "FINISHED", "failed": "FAILED"}  # a paused trial is KILLED
RUN, CONFIG, FOLD, STATE, REASON = (f"scribble_search.{name}" for name in ("run", "config", "fold", "state", "reason"))


def make(folder: Path) -> MLflow:
    return MLflow(folder)


class MLflow:
    """Finds existing runs by their tags, which include the id of the run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = library("mlflow", "mlflow")
        self.entities = library("mlflow.entities", "mlflow")
        self.local = f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or self.local
        self.runs: dict[str, str] = {}

    @property
    def location(self) -> str:
        return f"mlflow ui --backend-store-uri {re.sub('//[^/@]*@', '//', self.uri)}"

    @cached_property
    def client(self) -> Any:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)  # they log every table they create
        return self.library.MlflowClient(tracking_uri=self.uri)

    @cached_property
    def experiment(self) -> str:
        existing = self.client.get_experiment_by_name(self.folder.name)
        if existing is not None:
            return str(existing.experiment_id)
        artifacts = (self.folder / "mlruns").absolute().as_uri() if self.uri == self.local else None
        return str(self.client.create_experiment(self.folder.name, artifact_location=artifacts))

    def open(self, trial: TrackedTrial) -> int:
        tags = {RUN: identity(self.folder), CONFIG: trial.config, FOLD: str(trial.fold)}
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        existing = self.client.search_runs([self.experiment], query, max_results=1)
        last_step = 0
        if existing:
            run = existing[0].info.run_id
            self.client.update_run(run, status="RUNNING")
            last_step = max((metric.step for metric in self.client.get_metric_history(run, "score")), default=0)
        else:
            created = self.client.create_run(self.experiment, tags=tags, run_name=f"{trial.config} fold {trial.fold}")
            run = created.info.run_id
            values = {"fold": trial.fold, **trial.parameters}
            self.client.log_batch(run, params=[self.entities.Param(k, str(v)) for k, v in values.items()])
        self.runs[trial.name] = run
        return last_step

    def report(self, trial: TrackedTrial, step: int, score: float, seconds: float, at: float) -> None:
        metrics = [
            self.entities.Metric(name, value, round(at * 1000), step)
            for name, value in (("score", score), ("seconds", seconds))
        ]
        self.client.log_batch(self.runs[trial.name], metrics=metrics)

    def close(self, trial: TrackedTrial, state: str, reason: str) -> None:
        run = self.runs.pop(trial.name)
        tags = [self.entities.RunTag(STATE, state), self.entities.RunTag(REASON, reason)]
        self.client.log_batch(run, tags=tags)
        self.client.set_terminated(run, STATUS.get(state, "KILLED"))
