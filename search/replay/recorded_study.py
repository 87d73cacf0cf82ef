"""A recorded study: the learning curve of every fold trial, which a simulation reads instead of training."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from search.messages import Entrant, Report
from search.race.score_table import CONFIG_ID

COLUMNS = ("config", "fold", "step", "score", "seconds")
Steps = tuple[int, ...]
Curves = Mapping[tuple[str, int], Sequence[Report]]


@dataclass(frozen=True)
class RecordedStudy:
    """The complete configs; ``incomplete`` says what the others lack."""

    entrants: tuple[Entrant, ...]
    folds: int
    curves: Curves
    incomplete: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """GPU-seconds of the full grid."""
        return math.fsum(curve[-1].seconds for curve in self.curves.values())

    def means(self) -> dict[str, float]:
        """The ground truth of a replay: the mean over all folds, -inf for a config with a NaN score."""
        return {entrant.config: self._mean(entrant.config) for entrant in self.entrants}

    def shuffled(self, seed: int) -> RecordedStudy:
        """The same study with configs and folds in random order."""
        rng = random.Random(seed)
        entrants, numbers = list(self.entrants), list(range(self.folds))
        rng.shuffle(entrants)
        rng.shuffle(numbers)
        curves = {
            (config, numbers[fold]): [replace(report, fold=numbers[fold]) for report in curve]
            for (config, fold), curve in self.curves.items()
        }
        return replace(self, entrants=tuple(entrants), curves=curves)

    def _mean(self, config: str) -> float:
        scores = [report.score for fold in range(self.folds) for report in self.curves[config, fold]]
        if not all(math.isfinite(score) for score in scores):
            return float("-inf")
        return math.fsum(self.curves[config, fold][-1].score for fold in range(self.folds)) / self.folds


def study_from_table(frame: pd.DataFrame) -> RecordedStudy:
    """Split a checked table into curves; a config is complete if all its folds reached its last step.

    A config whose name is not an id of the journal, which names folders, is numbered.
    """
    numbers = {fold: number for number, fold in enumerate(sorted(frame["fold"].unique()))}
    order = {config: number for number, config in enumerate(frame["config"].unique())}
    table = frame.assign(_order=frame["config"].map(order), _fold=frame["fold"].map(numbers))
    table = table.sort_values(["_order", "_fold", "step"], kind="stable")
    parameters = [name for name in frame.columns if name not in COLUMNS]
    values = frame.drop_duplicates("config").set_index("config")[parameters].to_dict("index")
    points: dict[str, dict[Any, Any]] = {str(config): point for config, point in values.items()}
    ids = {name: name if CONFIG_ID.fullmatch(name) else f"config-{number}" for name, number in order.items()}
    if len(set(ids.values())) < len(ids):
        ids = {name: f"config-{number}" for name, number in order.items()}
    curves: dict[tuple[str, int], list[Report]] = {}
    columns = (table[name].tolist() for name in ("config", "_fold", "step", "score", "seconds"))
    for config, fold, step, score, seconds in zip(*columns, strict=True):
        curves.setdefault((config, fold), []).append(Report(ids[config], fold, step, score, seconds))
    steps = {cell: tuple(report.step for report in curve) for cell, curve in curves.items()}
    longest_first = sorted(set(steps.values()), key=len, reverse=True)
    horizons = _horizons(points, steps)
    entrants, incomplete = [], []
    for config in order:
        folds = [steps.get((config, fold), ()) for fold in numbers.values()]
        last = horizons.get(config, max(fold[-1:] for fold in folds))
        candidates = (each for each in longest_first if each[-1:] == last)
        full = next((each for each in candidates if all(_reaches_end(fold, each) for fold in folds)), None)
        if full is None:
            incomplete.append(f"config {config}: {_what_is_missing(folds, last, config in horizons)}")
        else:
            entrants.append(Entrant(ids[config], full, {str(k): v for k, v in points[config].items()}))
    kept = {entrant.config for entrant in entrants}
    complete = {(ids[name], fold): curve for (name, fold), curve in curves.items() if ids[name] in kept}
    return RecordedStudy(tuple(entrants), len(numbers), complete, tuple(incomplete))


def _reaches_end(steps: Steps, full: Steps) -> bool:
    """Whether a fold has all steps, or the first ones and the last as a fold that stopped early."""
    return steps[-1:] == full[-1:] and steps[:-1] == full[: len(steps) - 1]


def _horizons(points: Mapping[str, Any], steps: Mapping[tuple[str, int], Steps]) -> dict[str, Steps]:
    """The horizons given by the parameter ``steps``, since a config may be paused at the same step in all folds.

    Empty if no fold reached that step: then the parameter means something else.
    """
    horizons: dict[str, Steps] = {
        config: (int(float(point["steps"])),) for config, point in points.items() if _is_integer(point.get("steps"))
    }
    return horizons if any(each[-1:] == horizons.get(config) for (config, _), each in steps.items()) else {}


def _is_integer(value: object) -> bool:
    try:
        return float(str(value)).is_integer()
    except ValueError:
        return False


def _what_is_missing(folds: Sequence[Steps], last: Steps, horizon_known: bool) -> str:
    short = [fold for fold, steps in enumerate(folds) if steps[-1:] != last]
    if short and horizon_known:
        return f"fold {short[0]} was not trained until step {last[0]}"
    longest = max(folds, key=lambda steps: (steps[-1:], len(steps)))
    short = short or [fold for fold, steps in enumerate(folds) if not _reaches_end(steps, longest)]
    return f"fold {short[0]} has different steps from the other folds"
