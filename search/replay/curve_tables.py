"""Read recorded curves from tables and runs; an error names the first problem with file, row and column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from search.replay.recorded_study import COLUMNS, RecordedStudy, study_from_table
from search.replay.run_curves import curve_table
from search.run_storage.find_runs import all_runs, find_run, is_run
from search.runs.run_folder import Run
from trainable.errors import UserError, did_you_mean
from trainable.printing import plural, say
from trainable.storage.urls import is_url

SUFFIXES = (".parquet", ".csv")


def find_tables(paths: Sequence[str | Path], root: str = "runs") -> list[Path]:
    """Resolve paths to tables and runs: a folder means all of them in it, a name the run with that name."""
    found: list[Path] = []
    for name in paths:
        path = Path(name)
        if is_url(name) or (is_url(root) and not path.exists()):
            found.append(find_run(str(name), root).folder)
        elif is_run(path):
            found.append(path)
        elif path.is_dir():
            inside = sorted(each for each in path.iterdir() if is_run(each) or _is_table(each))
            if not inside:
                raise UserError(f"{path}: no .parquet or .csv file in this folder, and no run")
            found += inside
        elif is_run(root / path):
            found.append(root / path)
        elif not path.is_file():
            runs = [run.name for run in all_runs(root)]
            raise UserError(f"{path}: no such file or folder, and no run in {root}.{did_you_mean(str(path), runs)}")
        elif path.suffix not in SUFFIXES:
            raise UserError(f"{path}: must end in .parquet or .csv")
        else:
            found.append(path)
    return found


def unit_of_time(path: Path) -> str:
    """What the time of a readable table is in: seconds, or units of its column ``cost``."""
    if is_run(path):
        return "s"
    names = list(pd.read_csv(path, nrows=0)) if path.suffix == ".csv" else pq.read_schema(path).names
    return "s" if "seconds" in names or "cost" not in names else "cost"


def read_table(path: Path, minimize: bool = False) -> RecordedStudy:
    """``minimize`` is for tables whose lower scores are better, which a run's own space says. A column ``cost``, in any
    unit, replaces seconds.
    """
    frame = _read(path)
    minimize = minimize or (is_run(path) and Run(path).minimizes)
    if "seconds" not in frame.columns and "cost" in frame.columns:
        frame = frame.rename(columns={"cost": "seconds"})
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        hint = did_you_mean(missing[0], [str(name) for name in frame.columns])
        raise UserError(f"{path}: column {missing[0]!r} is missing.{hint} Needed: {', '.join(COLUMNS)}.")
    if frame.empty:
        raise UserError(f"{path}: {'the run has no reports yet' if is_run(path) else 'the table has no rows'}")
    table = _checked(path, frame)
    study = study_from_table(table.assign(score=-table["score"]) if minimize else table)
    if len(study.entrants) < 2:
        reason = f" ({study.incomplete[0]})" if study.incomplete else ""
        raise UserError(f"{path}: column 'config': fewer than two configs have all folds at full length{reason}")
    if not study.seconds:
        raise UserError(f"{path}: the time of every config is 0, so there are no costs to compare")
    if study.incomplete:
        say(
            f"{path}: replays only {plural(len(study.entrants), 'complete config')}; "
            f"skipped as incomplete: {'; '.join(study.incomplete)}. What those would have scored is unknown, so cost, "
            f"regret and P(best) are about the complete configs alone"
        )
    if max(study.means().values()) == float("-inf"):
        raise UserError(f"{path}: column 'score': every config has a NaN score")
    return study


def _is_table(path: Path) -> bool:
    return path.suffix in SUFFIXES and path.is_file()


def _read(path: Path) -> pd.DataFrame:
    if is_run(path):
        return curve_table(Run(path).lines())
    try:
        if path.suffix == ".csv":
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
            index = [name for name in frame if str(name).startswith("Unnamed: ")]
            parameters = frame.columns.difference([*COLUMNS, "cost", *index])
            frame[parameters] = frame[parameters].replace("", "nan")  # as tables of earlier versions say it
            return frame.drop(columns=index)
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # base classes of what the parsers of pandas and pyarrow raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable {path.suffix[1:]} table: {reason}") from None


def _checked(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The table with typed columns; the first problem is an error."""
    table = frame.reset_index(drop=True).assign(config=frame["config"].astype(str).to_numpy())
    _refuse(path, table, "config", table["config"].isin(["", "nan", "None"]), "is empty")
    for name in COLUMNS[1:]:
        table[name] = _numbers(path, table, name)
    for name, minimum in (("fold", 0), ("step", 1)):
        column = table[name]
        _refuse(path, table, name, (column % 1 != 0) | (column < minimum), f"must be an integer of at least {minimum}")
        table[name] = column.astype(int)
    _refuse(path, table, "seconds", ~(table["seconds"] >= 0) | np.isinf(table["seconds"]), "must be 0 or more")
    duplicates = table.duplicated(["config", "fold", "step"])
    _refuse(path, table, "step", duplicates, "appears twice in this fold of this config")
    ordered = table.sort_values(["config", "fold", "step"], kind="stable")
    decreases = ordered.groupby(["config", "fold"], sort=False)["seconds"].diff() < 0
    _refuse(path, table, "seconds", decreases.reindex(table.index), "is less than at the previous step")
    for name in [name for name in table.columns if name not in COLUMNS]:
        codes = pd.Series(pd.factorize(table[name])[0])
        first = codes.groupby(table["config"]).transform("first")
        _refuse(path, table, str(name), codes != first, "differs within a config; parameters must be constant")
    return table


def _numbers(path: Path, table: pd.DataFrame, name: str) -> pd.Series[float]:
    """A column as numbers; only scores may be NaN, and only if the table says so."""
    raw = table[name]
    numbers = pd.to_numeric(raw, errors="coerce").astype(float)
    explicit_nan = raw.isna() | raw.astype(str).str.strip().str.lower().isin(["nan", "none", "<na>"])
    allowed = explicit_nan if name == "score" else pd.Series(False, index=table.index)
    _refuse(path, table, name, numbers.isna() & ~allowed, "is not a number")
    return numbers


def _refuse(path: Path, table: pd.DataFrame, column: str, wrong: pd.Series[bool], rule: str) -> None:
    """Raise an error for the first wrong row; rows are counted from 1, without the header."""
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise UserError(f"{path}: row {row + 1}, column {column!r}: {str(table[column].iloc[row])!r} {rule}")
