"""Rebuild a lost or damaged journal from the fold folders, which hold the reports of each fold trial.

They lack the verdicts, which a policy derives again from the configs and the reports, and a few records, of which those
are kept that can be read in the old journal.
"""

import math
import shutil
from collections.abc import Container
from pathlib import Path

from search.messages import Entrant, Report
from search.runs.journal import Journal, Line, Tail
from search.runs.run_folder import CONFIG, Run
from search.runs.study import Study, entrant_of
from spaces.space import Point, Space
from trainable.config import as_written
from trainable.errors import UserError
from trainable.storage.atomic_files import TEMPORARY
from trainable.storage.checked_json import read_lines
from trainable.training.fold_folder import FAILURE_FILE, METRICS_FILE

KEPT = ("devices", "space", "finish", "pretraining", "retrained", "dropped")
UNKNOWN = ", so the reports of this fold are unknown"


def check_journal(run: Run) -> None:
    """Raise an error if the journal of a run with reports is gone, without which it would start from nothing."""
    lost = not run.journal.exists() or not run.journal.stat().st_size
    if lost and any(run.folder.glob(f"configs/*/fold_*/{METRICS_FILE}")):
        raise UserError(
            f"{run.journal}: is missing or empty, but fold trials of this run have reported;"
            " launch --recover rebuilds it from the fold folders"
        )


def recover(run: Run, space: Space) -> int:
    """Replace the journal by a rebuilt one, keep the old one as a copy, and return the number of reports."""
    if run.driven:
        raise UserError(f"{run.folder}: is running; stop it before rebuilding its journal")
    rebuilt = run.folder / f"{TEMPORARY}journal.jsonl"
    rebuilt.unlink(missing_ok=True)
    kept = [line for line in Tail(run.journal, skipped=lambda problem: None).read() if line.kind in KEPT]
    known, count = set[tuple[str, int]](), 0
    with Journal(rebuilt) as journal:
        journal.append("begin", recovered=True)
        for folder in _folders(run):
            point = _point(run, folder, space)
            entrant = entrant_of(point)
            journal.append("config", config=entrant.config, steps=list(entrant.steps), parameters=dict(point.values))
            for fold in range(space.settings.folds):
                for report in _reports(folder / f"fold_{fold}", entrant, fold, space.settings.metric.name):
                    journal.append("report", **report.record())
                    known.add((report.config, report.fold))
                    count += 1
        for line in kept:
            if _fits(line, known):
                journal.append(line.kind, **line.fields)
    if run.journal.exists():  # a copy, so that there is a journal whenever this is cut short
        shutil.copyfile(run.journal, run.folder / "journal.damaged.jsonl")
    rebuilt.replace(run.journal)
    return count


def _fits(line: Line, known: Container[tuple[str, int]]) -> bool:
    """Whether a record of a fold trial is of one that has reported; others are not of fold trials."""
    return "fold" not in line.fields or (line.fields.get("config"), line.fields["fold"]) in known


def import_reports(study: Study, run: Run, space: Space) -> int:
    """Report to a study what its journal lacks of the fold folders, and return the number of reports."""
    count = 0
    for folder in _folders(run):
        entrant = entrant_of(_point(run, folder, space))
        for fold in range(space.settings.folds):
            for report in _reports(folder / f"fold_{fold}", entrant, fold, space.settings.metric.name):
                study.add(entrant)
                if report.step not in study.policy.score_table.curve(report.config, report.fold):
                    study.report(report)
                    count += 1
    return count


def _point(run: Run, folder: Path, space: Space) -> Point:
    """The config of a folder; it may have been written before one of its parameters was searched."""
    recorded = run.config(folder.name)
    fixed = {name: as_written(name, value) for name, value in recorded["config"].items() if name in space.parameters}
    return space.resolve({**fixed, **recorded["values"]})


def _folders(run: Run) -> list[Path]:
    """The folders of the configs in the order of creation."""
    files = (run.folder / "configs").glob(f"*/{CONFIG}")
    return [path.parent for path in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.parent.name))]


def _reports(folder: Path, entrant: Entrant, fold: int, metric: str) -> list[Report]:
    """The reports of a fold trial; if it failed for good, which is not so once it is complete, the last one is NaN."""
    reports = []
    path = folder / METRICS_FILE
    for number, fields in enumerate(read_lines(path, advice=UNKNOWN), 1):
        try:
            step = entrant.horizon if fields["finished"] else int(fields["step"])
            score, seconds, gpus = float(fields[metric]), float(fields["seconds"]), float(fields.get("gpus", 1.0))
            reports.append(Report(entrant.config, fold, step, score, seconds, gpus))
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}, line {number}: is damaged{UNKNOWN}") from None
    complete = any(report.step == entrant.horizon for report in reports)
    if (folder / FAILURE_FILE).exists() and not complete:
        reports.append(Report(entrant.config, fold, entrant.horizon, math.nan, reports[-1].seconds if reports else 0.0))
    return reports
