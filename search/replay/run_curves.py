"""The curves of a run as a table: a row for each report, beside it the parameters of its config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from search.replay.recorded_study import COLUMNS
from search.runs.journal import Line
from trainable.errors import UserError
from trainable.storage.atomic_files import write_atomically


def curve_table(lines: Iterable[Line]) -> pd.DataFrame:
    """Everything that was reported, complete or not, in the order of configs, folds and steps.

    A fold that failed for good has a score that is not a number at its horizon, as policies are told of it; one that
    ended early has its standing score there. The horizon is the parameter ``steps``, searched or not.
    """
    parameters: dict[str, Mapping[str, Any]] = {}
    reports: list[Mapping[str, Any]] = []
    for line in lines:
        if line.kind == "config":
            parameters[line.fields["config"]] = {**line.fields["parameters"], "steps": line.fields["steps"][-1]}
        elif line.kind == "report":
            reports.append(line.fields)
    place = {config: number for number, config in enumerate(parameters)}
    reports.sort(key=lambda report: (place[report["config"]], report["fold"], report["step"]))
    columns: dict[str, list[Any]] = {name: [report[name] for report in reports] for name in COLUMNS}
    for name in dict.fromkeys(name for values in parameters.values() for name in values):
        columns.setdefault(name, _alike([parameters[report["config"]].get(name) for report in reports]))
    return pd.DataFrame(columns)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """As parquet or csv, by the path's suffix."""
    content = BytesIO()
    if path.suffix == ".parquet":
        table.to_parquet(content, index=False)
    elif path.suffix == ".csv":
        table.to_csv(content, index=False, na_rep="nan")
    else:
        raise UserError(f"{path}: must end in .parquet or .csv")
    write_atomically(path, lambda file: file.write(content.getvalue()))


def _alike(values: list[Any]) -> list[Any]:
    """Numbers stay numbers; what a column of a table cannot hold beside each other is written out."""
    known = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return values
    return [None if value is None else str(value) for value in values]
