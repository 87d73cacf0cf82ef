"""Cost, regret and P(best) of the fold race by its ``delta``, on all kinds of recorded studies; writes
results/deltas.json.

python benchmarks/deltas.py FOLDER
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import replay_facts
from benchmarks.replay import FIRST_SEED
from search.replay.comparison import mean_row, replay_outcome
from search.replay.curve_tables import find_tables, read_table
from search.replay.generated_worlds import RECIPES, generated_study
from search.replay.recorded_study import RecordedStudy
from trainable.exit_codes import run
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parent
DELTAS = (0.2, 0.1, 0.05, 0.02, 0.01)


def studies(data: str, folder: Path, count: int) -> Iterator[tuple[RecordedStudy, int]]:
    """Each study in each order, and how many fold trials run at once."""
    if data in RECIPES:
        for number in range(count):
            yield generated_study(RECIPES[data], FIRST_SEED + number), 8
        return
    found = {
        "foreign": (find_tables([folder]), 2, 4),
        "small": (find_tables([HOME / "tables" / "small"]), 8, 2),
        "grid": ([HOME / "tables" / "reduced_grid.parquet"], count, 8),
    }
    tables, orders, workers = found[data]
    for table in tables:
        study = read_table(table)
        yield study, workers
        yield from ((study.shuffled(seed), workers) for seed in range(1, orders))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the tables of benchmarks/foreign_curves.py")
    parser.add_argument("--count", type=int, default=60, help="worlds of each kind, and orders of the real grid")
    parser.add_argument("--out", type=Path, default=HOME / "results" / "deltas.json")
    options = parser.parse_args()
    start, tables = time.monotonic(), find_tables([options.folder])
    rows: list[dict[str, object]] = []
    for data in ("foreign", "small", "grid", *RECIPES):
        for delta in DELTAS:
            found = [
                replay_outcome(study, "foldrace", workers, 0, delta=delta)
                for study, workers in studies(data, options.folder, options.count)
            ]
            rows.append({"data": data, "delta": delta, "replays": len(found), **mean_row("foldrace", found)})
        say(f"{time.monotonic() - start:.0f} s: {data}")
        write_json(options.out, {**replay_facts("deltas", time.monotonic() - start, len(tables)), "results": rows})
    print_table(rows)


if __name__ == "__main__":
    run(main)
