"""What schedulers cost and find on curves that were really trained: a whole grid, replayed in many orders.

    python -m search launch benchmarks/reduced_grid.yaml --set data=DATA    # trains the whole grid; goes on if cut off
    python benchmarks/real_curves.py --record reduced_grid                  # its curves as tables/reduced_grid.parquet
    python benchmarks/real_curves.py                                        # replays them: results/real_curves.json

Each repeat deals configs and folds in another order, the same for all schedulers. The seconds of a recording depend on
what else the machine did, so the table has evened ones: a step of a batch size takes the median of all such steps.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import stdev

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from search.replay.comparison import compare, mean_row
from search.replay.curve_tables import read_table
from search.replay.recorded_study import RecordedStudy
from search.replay.run_curves import curve_table
from search.run_storage.find_runs import find_run
from trainable.errors import UserError
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parent
SCHEDULERS = ("foldrace", "halving", "asha", "ray-asha", "median", "wilcoxon", "random", "grid")


def record(name: str, root: str, table: Path) -> None:
    """The curves of a run that trained everything, with seconds that do not tell who else was at work."""
    curves = curve_table(find_run(name, root).lines())
    last = curves.groupby(["config", "fold"])["step"].transform("max") == curves["step"]
    paces = (curves["seconds"] / curves["step"])[last].groupby(curves["batch_size"]).median()
    curves["seconds"] = (curves["step"] * curves["batch_size"].map(paces)).round(3)
    curves["score"] = curves["score"].round(6)
    table.parent.mkdir(parents=True, exist_ok=True)
    curves.to_parquet(table, index=False)
    told = ", ".join(f"batch {size}: {1000 * pace:.0f} ms" for size, pace in paces.items())
    say(f"{table}: {len(curves)} reports of {last.sum()} fold trials, {table.stat().st_size / 1024:.0f} kB; {told}")


def facts(study: RecordedStudy) -> dict[str, float]:
    """What makes a grid easy or hard: how far configs and folds lie apart, and how much noise there is beside."""
    means = list(study.means().values())
    best = sorted(means, reverse=True)
    scores = [[study.curves[each.config, fold][-1].score for fold in range(study.folds)] for each in study.entrants]
    folds = [sum(column) / len(column) for column in zip(*scores, strict=True)]
    middle = sum(folds) / len(folds)
    noise = [
        score - middle - (mean - middle) - (level - middle)
        for row, mean in zip(scores, means, strict=True)
        for score, level in zip(row, folds, strict=True)
    ]
    return {
        "configs": len(means),
        "folds": study.folds,
        "hours": round(study.seconds / 3600, 2),
        "best": round(best[0], 4),
        "second": round(best[1], 4),
        "worst": round(best[-1], 4),
        "sd_configs": round(stdev(means), 4),
        "sd_folds": round(stdev(folds), 4),
        "sd_noise": round(stdev(noise), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=HOME / "tables" / "reduced_grid.parquet")
    parser.add_argument("--record", metavar="RUN", help="write the table from this run first")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8, help="fold trials at once")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=HOME / "results" / "real_curves.json")
    asked = parser.parse_args()
    if asked.record:
        record(asked.record, asked.runs, asked.table)
        return
    if not asked.table.exists():
        raise UserError(f"{asked.table}: no such table; --record RUN writes it")
    began, study = time.monotonic(), read_table(asked.table)
    sources = [partial(shuffled, asked.table, seed) for seed in range(asked.repeats)]
    parts = list(compare(sources, SCHEDULERS, asked.workers, seed=0, repeats=1, processes=asked.processes))
    rows = [mean_row(name, [part[name][0] for part in parts]) for name in SCHEDULERS]
    document = {
        "command": " ".join(["python", "benchmarks/real_curves.py", *sys.argv[1:]]),
        "machine": machine(),
        "seconds": round(time.monotonic() - began),
        "grid": facts(study),
        "repeats": asked.repeats,
        "workers": asked.workers,
        "results": rows,
    }
    write_json(asked.out, document)
    print_table([document["grid"]])
    print_table(rows, f"{asked.repeats} orders of {asked.table.name}; cost is the share of the full grid's seconds")


def shuffled(table: Path, seed: int) -> RecordedStudy:
    study = read_table(table)
    return study.shuffled(seed) if seed else study


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(2)
