"""What the scripts of the page know of a run: configs, fold trials and learning curves.

The page draws tables, curves and parallel coordinates from this alone, so that they can be sorted and filtered.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.answer.document import CERTAINTY, summary_rows
from analysis.answer.selection import Selection
from search.runs.run_tables import RunTables
from spaces.schema.parameters import Range
from trainable.printing import value_text

POINTS = 40  # of a curve
SHOWN = ("folds", "mean", "sd", *CERTAINTY, "seconds")  # of a config
SCORE_DIGITS = 5


def run_data(tables: RunTables, selection: Selection) -> dict[str, Any]:
    """Configs are in the order of the answer, the winner first; everything else refers to them by that order."""
    rows = summary_rows(tables, selection)
    missing = {each.config: each.missing for each in selection.incomplete}
    failed = tables.failed()
    chosen = tables.configs.set_index("config").loc[[row["config"] for row in rows]]
    values = {name: chosen[name].tolist() for name in tables.parameters}
    axes = [_axis(tables, name, column) for name, column in values.items()]
    configs = [
        {
            "id": row["config"],
            "place": row["place"] or ("failed" if row["config"] in failed else ""),
            "values": [place(values[name][number]) for name, (_, place) in zip(values, axes, strict=True)],
            "missing": missing.get(row["config"], ""),
            **{key: row[key] for key in SHOWN},
        }
        for number, row in enumerate(rows)
    ]
    order = {row["config"]: number for number, row in enumerate(rows)}
    return {
        "name": tables.run.name,
        "address": tables.run.address,
        "metric": tables.metric,
        "minimize": tables.minimize,
        "folds": tables.folds,
        "steps_label": steps_label(tables),
        "parameters": [axis for axis, _ in axes],
        "configs": configs,
        **_fold_trials(tables, order),
    }


def steps_label(tables: RunTables) -> str:
    """What the steps of a curve are, on its axis."""
    return "training steps" if tables.space.trainable.learns else "steps, equal shares of the fold's images"


def _axis(tables: RunTables, name: str, values: Sequence[Any]) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """The scale of a parameter, and what stands for a value: a number of a range, or the place among the levels."""
    parameter = tables.space.parameters.get(name)
    present = [value for value in values if value is not None]
    if isinstance(parameter, Range) and all(is_number(value) for value in present):
        low, high = min([parameter.low, *present]), max([parameter.high, *present])
        axis = {"name": name, "log": parameter.log, "low": low, "high": high, "levels": None}
        return axis, lambda value: value
    listed = [] if parameter is None or isinstance(parameter, Range) else parameter.values
    texts = {value_text(value) for value in present}
    known = {text: value for value in [*listed, *present] if (text := value_text(value)) in texts}
    levels = sorted(known, key=lambda level: known[level]) if all(map(is_number, known.values())) else list(known)
    place = {level: number for number, level in enumerate(levels)}
    return {"name": name, "levels": levels}, lambda value: None if value is None else place[value_text(value)]


def _fold_trials(tables: RunTables, order: Mapping[str, int]) -> dict[str, Any]:
    """Fold trials as rows; reasons and lists of steps, which many of them share, are listed once."""
    reasons: dict[str, int] = {}
    shared: dict[tuple[int, ...], int] = {}
    curves = {}
    for cell, rows in tables.curves.groupby(["config", "fold"], sort=False):
        steps, scores = rows["step"].to_numpy(), rows["score"].to_numpy(float)
        kept = np.unique(np.linspace(0, len(steps) - 1, min(POINTS, len(steps))).round().astype(int))
        numbers = [None if math.isnan(score) else round(score, SCORE_DIGITS) for score in scores[kept].tolist()]
        curves[cell] = [shared.setdefault(tuple(steps[kept].tolist()), len(shared)), numbers]
    trials = [
        {key: row[key] for key in ("fold", "state", "step", "of", "score", "full", "faults")}
        | {
            "config": order[row["config"]],
            "seconds": round(row["seconds"], 1),
            "reason": reasons.setdefault(str(row["reason"]), len(reasons)),
            "curve": curves.get((row["config"], row["fold"])),
        }
        for row in tables.trials.to_dict("records")
    ]
    return {"trials": trials, "reasons": list(reasons), "steps": [list(steps) for steps in shared]}


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
