"""A recorded study: the curve of every fold trial that was once trained, to be trained again by reading."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from search.messages import Entrant, Report

COLUMNS = ("config", "fold", "step", "score", "seconds")
Steps = tuple[int, ...]
Curves = Mapping[tuple[str, int], Sequence[Report]]


@dataclass(frozen=True)
class RecordedStudy:
    """Complete configs only; ``left_out`` says in words which ones were not."""

    entrants: tuple[Entrant, ...]
    folds: int
    curves: Curves
    left_out: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """What the full grid costs."""
        return math.fsum(curve[-1].seconds for curve in self.curves.values())

    def means(self) -> dict[str, float]:
        """The truth of a replay: the mean over all folds; a config with a score that is not a number has
        the worst.
        """
        return {entrant.config: self._mean(entrant.config) for entrant in self.entrants}

    def shuffled(self, seed: int) -> RecordedStudy:
        """The same study with its configs in another order and its folds numbered in another order."""
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
    """Cut a checked table into curves; a config counts where every fold has come to its last step."""
    numbers = {fold: number for number, fold in enumerate(sorted(frame["fold"].unique()))}
    order = {config: place for place, config in enumerate(frame["config"].unique())}
    table = frame.assign(_place=frame["config"].map(order), _fold=frame["fold"].map(numbers))
    table = table.sort_values(["_place", "_fold", "step"], kind="stable")
    parameters = [name for name in frame.columns if name not in COLUMNS]
    values = frame.drop_duplicates("config").set_index("config")[parameters].to_dict("index")
    points: dict[str, dict[Any, Any]] = {str(config): point for config, point in values.items()}
    curves: dict[tuple[str, int], list[Report]] = {}
    columns = (table[name].tolist() for name in ("config", "_fold", "step", "score", "seconds"))
    for config, fold, step, score, seconds in zip(*columns, strict=True):
        curves.setdefault((config, fold), []).append(Report(config, fold, step, score, seconds))
    steps = {cell: tuple(report.step for report in curve) for cell, curve in curves.items()}
    known = sorted(set(steps.values()), key=len, reverse=True)
    horizons = _horizons(points, steps)
    entrants, left_out = [], []
    for config in order:
        told = [steps.get((config, fold), ()) for fold in numbers.values()]
        last = horizons.get(config, max(each[-1:] for each in told))
        whole = next((each for each in known if each[-1:] == last and all(_ends(fold, each) for fold in told)), None)
        if whole is None:
            left_out.append(f"config {config}: {_lack(told, last, config in horizons)}")
        else:
            entrants.append(Entrant(config, whole, {str(k): v for k, v in points[config].items()}))
    kept = {entrant.config for entrant in entrants}
    complete = {cell: curve for cell, curve in curves.items() if cell[0] in kept}
    return RecordedStudy(tuple(entrants), len(numbers), complete, tuple(left_out))


def _ends(steps: Steps, whole: Steps) -> bool:
    """Whether these are all of the steps, or those of a fold that ended early: the first ones and the last."""
    return steps[-1:] == whole[-1:] and steps[:-1] == whole[: len(steps) - 1]


def _horizons(points: Mapping[str, Any], steps: Mapping[tuple[str, int], Steps]) -> dict[str, Steps]:
    """Where configs end, if the parameter ``steps`` says so: a config may have been paused at one step in all folds.

    It does not where no fold ever came to that step: then it counts something else.
    """
    told: dict[str, Steps] = {
        config: (int(float(point["steps"])),) for config, point in points.items() if _whole(point.get("steps"))
    }
    return told if any(each[-1:] == told.get(config) for (config, _), each in steps.items()) else {}


def _whole(value: object) -> bool:
    try:
        return float(str(value)).is_integer()
    except ValueError:
        return False


def _lack(told: Sequence[Steps], last: Steps, certain: bool) -> str:
    short = [fold for fold, each in enumerate(told) if each[-1:] != last]
    if short and certain:
        return f"fold {short[0]} was not trained until step {last[0]}"
    longest = max(told, key=lambda each: (each[-1:], len(each)))
    short = short or [fold for fold, each in enumerate(told) if not _ends(each, longest)]
    return f"fold {short[0]} has other steps than its other folds"
