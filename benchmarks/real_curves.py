"""Compare schedulers on the curves of a real, completely trained grid, replayed in many orders.

    python -m search launch benchmarks/reduced_grid.yaml --set data=DATA    # trains the grid; resumes if interrupted
    python benchmarks/real_curves.py --record reduced_grid                  # writes tables/reduced_grid.parquet
    python benchmarks/real_curves.py                                        # writes results/real_curves.json

Each repeat uses another order of configs and folds, the same for all schedulers. Recorded seconds depend on the load of
the machine, so the table contains smoothed ones: the time of a step is the median over all steps of its batch size.
"""

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import stdev

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import command_line, commit, machine
from search.replay.comparison import compare, mean_row
from search.replay.curve_tables import read_table
from search.replay.recorded_study import RecordedStudy
from search.replay.run_curves import curve_table
from search.run_storage.find_runs import find_run
from trainable.errors import UserError
from trainable.exit_codes import run
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parent
SCHEDULERS = ("foldrace", "halving", "asha", "ray-asha", "median", "wilcoxon", "random", "grid")


def record(name: str, root: str, table: Path) -> None:
    """Write the curves of a complete run, with seconds that do not depend on the load of the machine."""
    curves = curve_table(find_run(name, root).lines())
    last = curves.groupby(["config", "fold"])["step"].transform("max") == curves["step"]
    step_seconds = (curves["seconds"] / curves["step"])[last].groupby(curves["batch_size"]).median()
    curves["seconds"] = (curves["step"] * curves["batch_size"].map(step_seconds)).round(3)
    curves["score"] = curves["score"].round(6)
    table.parent.mkdir(parents=True, exist_ok=True)
    curves.to_parquet(table, index=False)
    times = ", ".join(f"batch {size}: {1000 * seconds:.0f} ms" for size, seconds in step_seconds.items())
    say(f"{table}: {len(curves)} reports of {last.sum()} fold trials, {table.stat().st_size / 1024:.0f} kB; {times}")


def facts(study: RecordedStudy) -> dict[str, float]:
    """The spread of configs and folds and the noise, which determine how difficult a grid is."""
    means = list(study.means().values())
    best = sorted(means, reverse=True)
    scores = [[study.curves[each.config, fold][-1].score for fold in range(study.folds)] for each in study.entrants]
    folds = [sum(column) / len(column) for column in zip(*scores, strict=True)]
    grand_mean = sum(folds) / len(folds)
    noise = [
        score - mean - (level - grand_mean)
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
    parser.add_argument("--record", metavar="RUN", help="write the table from this run and exit")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8, help="fold trials at once")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=HOME / "results" / "real_curves.json")
    options = parser.parse_args()
    if options.record:
        record(options.record, options.runs, options.table)
        return
    if not options.table.exists():
        raise UserError(f"{options.table}: no such table; --record RUN writes it")
    start, study = time.monotonic(), read_table(options.table)
    sources = [partial(shuffled, options.table, seed) for seed in range(options.repeats)]
    parts = list(compare(sources, SCHEDULERS, options.workers, seed=0, repeats=1, processes=options.processes))
    rows = [mean_row(name, [part[name][0] for part in parts]) for name in SCHEDULERS]
    document = {
        "command": command_line(),
        "commit": commit(),
        "machine": machine(),
        "seconds": round(time.monotonic() - start),
        "grid": facts(study),
        "repeats": options.repeats,
        "workers": options.workers,
        "results": rows,
    }
    write_json(options.out, document)
    print_table([document["grid"]])
    print_table(rows, f"{options.repeats} orders of {options.table.name}; cost is relative to the full grid")


def shuffled(table: Path, seed: int) -> RecordedStudy:
    study = read_table(table)
    return study.shuffled(seed) if seed else study


if __name__ == "__main__":
    run(main)
