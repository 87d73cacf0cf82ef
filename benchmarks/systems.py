"""What a finished search found, as a result file and as the tables of docs/systems.md.

    python benchmarks/systems.py runs/encoders --name encoders_cpu2 --command 'python -m search launch encoders'
    python benchmarks/systems.py --tables encoders_cpu2

The first writes benchmarks/results/NAME.json: every config that was trained, with its scores, those on a validation
split too, the published figures beside ours, the winner, and its score corrected for being selected. ``--ensemble``
adds the scores of the winner's ensemble and its refinement, ``--masks`` packs a folder of predicted masks into
NAME_masks.zip or the ``--archive``. The second prints the tables for the documentation, whose tests compare them: all
configs, or the best of each combination of the ``--best-of`` parameters.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from benchmarks.reproduce import pack
from trainable.printing import ABSENT, value_text

if TYPE_CHECKING:
    from analysis.statistics.bootstrap import CorrectedScore

RESULTS = Path(__file__).parent / "results"
DIGITS = 3


def document(folder: Path, command: str) -> dict[str, Any]:
    """The result file of a run."""
    from analysis.answer.published import documents, published_figures
    from analysis.answer.score_basis import validation_scores
    from analysis.answer.selection import corrected_score, select
    from search.runs.run_folder import ENVIRONMENT, Run
    from search.runs.run_tables import read_run

    tables = read_run(Run(folder))
    facts = json.loads((folder / ENVIRONMENT).read_text())
    full = tables.full()
    found = select(tables)
    rows = []
    for row in tables.configs.to_dict("records"):
        config = str(row["config"])
        scores = [_plain(score) for score in full.loc[config]]
        folds = full.loc[config].dropna()
        own = {name: _plain(row[name]) for name in tables.parameters}
        entry: dict[str, Any] = {"config": config, **own, "folds": len(folds), "fold_scores": scores}
        if config in tables.complete():
            score, _ = corrected_score(tables, [config], tables.metric)
            entry |= {"score": float(folds.mean()), "sd": float(folds.std()) if len(folds) > 1 else None}
            entry |= {} if score is None else {"low": score.low, "high": score.high}
            entry["pooled"] = {name: float(value) for name, value in tables.scores(tables.images([config])).items()}
        elif len(folds):
            entry["score"] = float(folds.mean())
        if others := validation_scores(tables, config):
            entry["validation"] = {name: fmean(each[name] for each in others) for name in others[0]}
        rows.append(entry)
    return {
        "command": command,
        "commit": facts.get("commit"),
        "machine": machine() | {"python": facts["python"], "torch": facts["packages"]["torch"]},
        "space": tables.space.settings.name,
        "metric": tables.metric,
        "goal": tables.space.settings.metric.goal,
        "folds": tables.folds,
        "data_hash": facts.get("data_hash"),
        "fixed": {name: _plain(value) for name, value in tables.space.constants.items()},
        "parameters": tables.parameters,
        "configs": rows,
        "core_hours": round(float(tables.trials["seconds"].sum()) / 3600, 2),
        "winner": None if found.winner is None else found.winner.config,
        "corrected": _corrected(found.corrected),
        "peers": list(found.peers),
        "validation": tables.space.settings.validation,
        "published": documents(published_figures(tables)),
    }


def _corrected(score: CorrectedScore | None) -> dict[str, float] | None:
    return None if score is None else {"score": score.estimate, "low": score.low, "high": score.high}


def markdown(result: Mapping[str, Any]) -> str:
    """The tables of a result: configs, the best first, and published figures beside ours."""
    own = sorted(result["configs"], key=lambda row: (row["folds"] < result["folds"], -row.get("score", -1)))
    own = [row for row in own if row["folds"]]
    varied = [name for name in result["parameters"] if len({str(row[name]) for row in own} - {"None"}) > 1]
    grouped = result.get("best_of", [])
    if grouped:
        own, settings = _best_of(own, grouped, varied)
    split = result.get("validation")
    rows = [
        {
            **{name: _cell(row[name]) for name in grouped or varied},
            **({"best of": settings[row["config"]]} if grouped else {}),
            result["metric"]: _figure(row["score"]),
            "95 % interval": f"{_figure(row['low'])} to {_figure(row['high'])}" if "low" in row else "",
            "folds": f"{row['folds']} of {result['folds']}",
            **({f"on {split}": _figure(row.get("validation", {}).get(result["metric"]))} if split else {}),
        }
        for row in own
    ]
    metrics = list(dict.fromkeys(row["metric"] for row in result["published"]))
    published = [
        {"published → ours": where, **dict.fromkeys(metrics, "")}
        | {row["metric"]: _compared(row) for row in result["published"] if row["where"] == where}
        for where in dict.fromkeys(row["where"] for row in result["published"])
    ]
    return "\n\n".join(table(each) for each in (rows, published) if each)


def _best_of(
    rows: Sequence[Mapping[str, Any]], grouped: Sequence[str], varied: Sequence[str]
) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """The first row of each group, and of how many configs it is the best, with its values of other parameters."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in grouped), []).append(row)
    settings = {}
    for first, *others in groups.values():
        own = [f"{name} {_cell(first[name])}" for name in varied if name not in grouped and first[name] is not None]
        settings[first["config"]] = str(len(others) + 1) + (f": {', '.join(own)}" if own else "")
    return [group[0] for group in groups.values()], settings


def _compared(row: Mapping[str, Any]) -> str:
    ours = row["state"] if row["ours"] is None else f"{_figure(row['ours'])} ({row['difference']:+.{DIGITS}f})"
    return f"{row['published']:g} → {ours}"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as a table in Markdown."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(score: float | None) -> str:
    return "" if score is None else f"{score:.{DIGITS}f}"


def _cell(value: Any) -> str:
    return ABSENT if value is None else value_text(value)


def _plain(value: Any) -> Any:
    from analysis.answer.selection import plain

    return list(value) if isinstance(value, tuple) else plain(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="the folder of a run")
    parser.add_argument("--name", help="name of the result files")
    parser.add_argument("--command", help="the command that made the run")
    parser.add_argument("--ensemble", type=Path, help="the folder of the winner's ensemble")
    parser.add_argument("--masks", type=Path, help="a folder of masks that the ensemble predicted")
    parser.add_argument("--archive", help="name of the file that they are packed into (default: NAME_masks.zip)")
    parser.add_argument("--best-of", nargs="+", default=[], metavar="PARAMETER", help="what the table is grouped by")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tables", metavar="NAME", help="print the tables of a result file")
    options = parser.parse_args()
    if options.tables:
        print(markdown(json.loads((options.results / f"{options.tables}.json").read_text())))
        return 0
    if not (options.run and options.name and options.command):
        parser.error("give a run, --name and --command, or --tables")

    from trainable.storage.atomic_files import write_json

    result = document(options.run, options.command)
    if options.best_of:
        result["best_of"] = options.best_of
    if options.ensemble:
        result["ensemble"] = json.loads((options.ensemble / "ensemble.json").read_text())
        result["ensemble"].pop("pretrained", None)  # projections of features, which are long and needed to predict only
        if (refinement := options.ensemble / "refinement.json").exists():
            result["refinement"] = json.loads(refinement.read_text())
    if options.masks:
        archive = options.results / (options.archive or f"{options.name}_masks.zip")
        result["masks"] = {archive.name: pack(options.masks, archive)}
    write_json(options.results / f"{options.name}.json", result)
    print(markdown(result))
    return 0


if __name__ == "__main__":
    from trainable.exit_codes import run

    run(main)
