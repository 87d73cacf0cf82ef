"""The learning curves of a run as a table: one row per report, with the parameters of its config."""

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
    """All reports, of complete and incomplete configs, sorted by config, fold and step.

    As in the journal, a failed fold has NaN at its horizon, and a fold that stopped early its current score. The
    horizon is always a column, ``steps``, even if it is not searched.
    """
    parameters: dict[str, Mapping[str, Any]] = {}
    reports: list[Mapping[str, Any]] = []
    for line in lines:
        if line.kind == "config":
            parameters[line.fields["config"]] = {**line.fields["parameters"], "steps": line.fields["steps"][-1]}
        elif line.kind == "report":
            reports.append(line.fields)
    order = {config: number for number, config in enumerate(parameters)}
    reports.sort(key=lambda report: (order[report["config"]], report["fold"], report["step"]))
    columns: dict[str, Any] = {name: [report[name] for report in reports] for name in COLUMNS}
    for name in dict.fromkeys(name for values in parameters.values() for name in values):
        columns.setdefault(name, _one_type([parameters[report["config"]].get(name) for report in reports]))
    return pd.DataFrame(columns)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write Parquet or CSV, depending on the suffix.

    In CSV, the score of a failed fold is nan, unlike a missing cell; a parameter that a config does not have is empty.
    """
    content = BytesIO()
    if path.suffix == ".parquet":
        table.to_parquet(content, index=False)
    elif path.suffix == ".csv":
        scores = table["score"].astype(object).where(table["score"].notna(), "nan")
        table.assign(score=scores).to_csv(content, index=False)
    else:
        raise UserError(f"{path}: must end in .parquet or .csv")
    write_atomically(path, lambda file: file.write(content.getvalue()))


def _one_type(values: list[Any]) -> Any:
    """Numbers stay numbers; mixed types, which a Parquet column cannot hold, become strings."""
    given = [value for value in values if value is not None]
    if given and all(type(value) is int for value in given):
        return pd.array(values, dtype="Int64")
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return values
    return [None if value is None else str(value) for value in values]
