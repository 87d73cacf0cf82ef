"""A run as tables, whether it is finished, still running or damaged."""

import gc
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from search.runs.journal import Line, Tail
from search.runs.run_folder import ENVIRONMENT, FOLDS, Run
from search.runs.status import Status, new_status, note_valid
from spaces.space import Space
from trainable.data.folds import load_folds
from trainable.data.task import TWO_CLASSES, Task
from trainable.objectives.metrics import Counts, Scores, from_columns, scores, table_columns
from trainable.printing import ABSENT, value_text
from trainable.storage.checked_tables import read_table

IMAGES_FILE = "images.parquet"
NONE = value_text(None)
RETRAIN = "remove it, and launching the run trains the fold again"
CURVES = ("config", "fold", "step", "score", "seconds")
TRIALS = ("config", "fold", "state", "step", "of", "score", "full", "seconds", "reason", "faults")


@dataclass(frozen=True)
class RunTables:
    """The contents of a run's journal, and of its fold folders on demand.

    ``configs`` has a row for each config in the order of arrival, with the parameters that vary: None where a config
    does not have one, "none" where that is its value. ``trials`` has a row for each fold trial that was ever assigned;
    ``curves`` has one for each report. ``left_out`` lists the problems of journal records that could not be used.
    """

    run: Run
    space: Space
    status: Status
    lines: tuple[Line, ...]
    configs: pd.DataFrame
    trials: pd.DataFrame
    curves: pd.DataFrame
    left_out: tuple[str, ...]

    @property
    def folds(self) -> int:
        return self.space.settings.folds

    @property
    def metric(self) -> str:
        return self.space.settings.metric.name

    @property
    def minimize(self) -> bool:
        """Whether lower scores are better."""
        return self.status.score_table.minimize

    @property
    def score_label(self) -> str:
        """The metric on an axis."""
        return f"{self.metric} (lower is better)" if self.minimize else self.metric

    @property
    def parameters(self) -> list[str]:
        """The parameters that vary, in the order of the space."""
        return _searched(self.space, self.status)

    def texts(self, config: str) -> dict[str, str]:
        """The values of a config for people, with a dash for an inactive parameter."""
        values = self.status.score_table.entrants[config].parameters
        return {name: value_text(values[name]) if name in values else ABSENT for name in self.parameters}

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What was recorded of the data when the run was launched (see ``label_facts``)."""
        return self.run.environment() if (self.run.folder / ENVIRONMENT).exists() else {}

    @cached_property
    def groups(self) -> Mapping[str, str]:
        """The group of each image that was recorded with the folds."""
        path = self.run.folder / FOLDS
        return load_folds(path).groups if path.exists() else {}

    @property
    def task(self) -> Task:
        classes = self.facts.get("classes")
        return Task(tuple(classes), declared=True) if classes else TWO_CLASSES

    def scores(self, images: pd.DataFrame) -> Scores:
        """Every metric of these rows of ``images``."""
        volumes = images["volume"].tolist() if "volume" in images else None
        return scores(self.counts(images), self.task, volumes)

    def counts(self, images: pd.DataFrame) -> Counts:
        """The confusion matrix of each row of ``images``."""
        return from_columns({str(name): images[name] for name in images}, len(self.task.classes))

    def full(self) -> pd.DataFrame:
        """Full-length scores: a row for each config, a column for each fold, NaN where missing."""
        table = self.trials.pivot(index="config", columns="fold", values="full")
        return table.reindex(index=self.configs["config"], columns=range(self.folds)).astype(float)

    def failed(self) -> set[str]:
        return set(self.trials.loc[self.trials["state"] == "failed", "config"])

    def complete(self) -> list[str]:
        """The complete configs, in the order of arrival."""
        full = self.full()
        return [config for config in full.index[full.notna().all(axis=1)] if config not in self.failed()]

    def images(self, configs: Iterable[str], weights: str = "last", size: str = "working") -> pd.DataFrame:
        """Pixel counts of the validation images of each fold; by default those that scores are computed from."""
        frames = [frame for config in configs for frame in self._images(config)]
        if not frames:
            counts = table_columns(len(self.task.classes))
            return pd.DataFrame(columns=["config", "fold", "stem", "weights", "size", *counts, "step"])
        table = pd.concat(frames, ignore_index=True)
        return table[(table["weights"] == weights) & (table["size"] == size)].reset_index(drop=True)

    def folder(self, config: str, fold: int) -> Path:
        return self.run.fold_folder(config, fold)

    def _images(self, config: str) -> Iterator[pd.DataFrame]:
        for fold in range(self.folds):
            path = self.folder(config, fold) / IMAGES_FILE
            if path.exists():
                yield read_table(path, RETRAIN).assign(config=config, fold=fold)


def read_run(run: Run) -> RunTables:
    """Read the journal once, without records that are damaged or inconsistent with earlier ones."""
    run.fetch("configs/*/config.json", f"configs/*/{IMAGES_FILE}")
    space = run.space()
    driven = run.driven
    status = new_status(space)
    with _without_garbage_collection():
        lines, left_out = _read_journal(run, status)
    status.set_driven(driven or run.driven)
    curves = _curves(lines)
    return RunTables(
        run=run,
        space=space,
        status=status,
        lines=tuple(lines),
        configs=_configs(space, status),
        trials=_trials(status),
        curves=curves,
        left_out=tuple(left_out),
    )


def _read_journal(run: Run, status: Status) -> tuple[list[Line], list[str]]:
    """The valid records, and the problems of the others."""
    left_out: list[str] = []
    lines = Tail(run.journal, skipped=left_out.append).read()
    return list(note_valid(status, lines, run.journal, left_out)), left_out


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Records have no reference cycles, and searching half a million of them takes as long as reading them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _searched(space: Space, status: Status) -> list[str]:
    entrants = status.score_table.entrants.values()
    return list(space.parameters) or list(dict.fromkeys(name for each in entrants for name in each.parameters))


def _configs(space: Space, status: Status) -> pd.DataFrame:
    entrants, names = status.score_table.entrants.values(), _searched(space, status)
    spent: dict[str, float] = {}
    for (config, _), trial in status.trials.items():
        spent[config] = spent.get(config, 0.0) + trial.gpu_seconds
    rows: list[dict[str, Any]] = [
        {
            "config": each.config,
            **dict.fromkeys(names),
            "steps": each.horizon,
            **{name: NONE if value is None else value for name, value in each.parameters.items() if name in names},
            "seconds": spent.get(each.config, 0.0),
        }
        for each in entrants
    ]
    columns = list(dict.fromkeys(["config", *names, "steps", "seconds"]))
    # As objects, so that the integers of a parameter stay integers beside configs that do not have it.
    return pd.DataFrame(rows, columns=columns, dtype=object).astype({"steps": int, "seconds": float})


def _trials(status: Status) -> pd.DataFrame:
    order = {config: number for number, config in enumerate(status.score_table.entrants)}
    rows = []
    for config, fold in sorted(status.trials, key=lambda cell: (order[cell[0]], cell[1])):
        trial = status.trials[config, fold]
        full = status.score_table.full(config, fold)
        rows.append(
            {
                "config": config,
                "fold": fold,
                "state": trial.state,
                "step": trial.step,
                "of": status.score_table.entrants[config].horizon,
                "score": trial.score,
                "full": math.nan if full is None else status.score_table.shown(full),
                "seconds": trial.gpu_seconds,
                "reason": status.reason(config, fold),
                "faults": trial.faults,
            }
        )
    return pd.DataFrame(rows, columns=list(TRIALS))


def _curves(lines: Iterable[Line]) -> pd.DataFrame:
    reports = [line.fields for line in lines if line.kind == "report"]
    columns = {name: [report[name] for report in reports] for name in CURVES}
    table = pd.DataFrame(columns).drop_duplicates(["config", "fold", "step"])
    return table.sort_values(["config", "fold", "step"], ignore_index=True)
