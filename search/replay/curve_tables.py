"""Read recorded curves from tables and from runs, and say in one line what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from search.replay.recorded_study import COLUMNS, RecordedStudy, study_from_table
from search.replay.run_curves import curve_table
from search.run_storage.find_runs import all_runs, find_run, is_run
from search.runs.run_folder import Run
from trainable.errors import UserError, did_you_mean
from trainable.printing import say
from trainable.storage.urls import is_url

SUFFIXES = (".parquet", ".csv")


def find_tables(paths: Sequence[str | Path], root: str = "runs") -> list[Path]:
    """The tables and runs that the paths name; a folder stands for all in it, a name for the run that has it."""
    found: list[Path] = []
    for named in paths:
        path = Path(named)
        if is_url(named) or (is_url(root) and not path.exists()):
            found.append(find_run(str(named), root).folder)
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
            known = [run.name for run in all_runs(root)]
            raise UserError(f"{path}: no such file or folder, and no run in {root}.{did_you_mean(str(path), known)}")
        elif path.suffix not in SUFFIXES:
            raise UserError(f"{path}: must end in .parquet or .csv")
        else:
            found.append(path)
    return found


def read_table(path: Path) -> RecordedStudy:
    frame = _read(path)
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        hint = did_you_mean(missing[0], [str(name) for name in frame.columns])
        raise UserError(f"{path}: column {missing[0]!r} is missing.{hint} Needed: {', '.join(COLUMNS)}.")
    if frame.empty:
        raise UserError(f"{path}: {'nothing was reported yet' if is_run(path) else 'the table has no rows'}")
    study = study_from_table(_checked(path, frame))
    if len(study.entrants) < 2:
        why = f" ({study.left_out[0]})" if study.left_out else ""
        raise UserError(f"{path}: column 'config': fewer than two configs have all folds at full length{why}")
    if study.left_out:
        say(
            f"{path}: replays the {len(study.entrants)} complete configs only; "
            f"incomplete and left out: {'; '.join(study.left_out)}"
        )
    if max(study.means().values()) == float("-inf"):
        raise UserError(f"{path}: column 'score': every config has a score that is not a number")
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
            return frame.drop(columns=index)
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # the parsers of pandas and pyarrow raise kinds of these
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable {path.suffix[1:]} table: {reason}") from None


def _checked(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its types; the first thing that is wrong is an error."""
    table = frame.reset_index(drop=True).assign(config=frame["config"].astype(str).to_numpy())
    _refuse(path, table, "config", table["config"].isin(["", "nan", "None"]), "is empty")
    for name in COLUMNS[1:]:
        table[name] = _numbers(path, table, name)
    for name, least in (("fold", 0), ("step", 1)):
        column = table[name]
        _refuse(path, table, name, (column % 1 != 0) | (column < least), f"must be a whole number from {least}")
        table[name] = column.astype(int)
    _refuse(path, table, "seconds", ~(table["seconds"] >= 0) | np.isinf(table["seconds"]), "must be 0 or more")
    again = table.duplicated(["config", "fold", "step"])
    _refuse(path, table, "step", again, "comes twice in this fold of this config")
    ordered = table.sort_values(["config", "fold", "step"], kind="stable")
    falls = ordered.groupby(["config", "fold"], sort=False)["seconds"].diff() < 0
    _refuse(path, table, "seconds", falls.reindex(table.index), "is less than at the step before; it adds up")
    for name in [name for name in table.columns if name not in COLUMNS]:
        codes = pd.Series(pd.factorize(table[name])[0])
        first = codes.groupby(table["config"]).transform("first")
        _refuse(path, table, str(name), codes != first, "differs within a config, and so is no parameter")
    return table


def _numbers(path: Path, table: pd.DataFrame, name: str) -> pd.Series[float]:
    """As numbers; only a score may be NaN, and only where that is what stands there."""
    raw = table[name]
    numbers = pd.to_numeric(raw, errors="coerce").astype(float)
    said = raw.isna() | raw.astype(str).str.strip().str.lower().isin(["nan", "none", "<na>"])
    allowed = said if name == "score" else pd.Series(False, index=table.index)
    _refuse(path, table, name, numbers.isna() & ~allowed, "is not a number")
    return numbers


def _refuse(path: Path, table: pd.DataFrame, column: str, wrong: pd.Series[bool], rule: str) -> None:
    """Rows are counted from 1, without the header."""
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise UserError(f"{path}: row {row + 1}, column {column!r}: {str(table[column].iloc[row])!r} {rule}")
