"""Compare schedulers on learning curves that were not made for this project, a table each; writes
results/foreign_curves.json.

    python benchmarks/foreign_curves.py FOLDER --repeats 5

Rows are means over all tables, and over those with odd and even numbers in the order of their names: settings of the
fold race were chosen on the odd ones.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import replay_facts
from search.replay.comparison import ReplayOutcome, mean_row, replay_outcomes
from search.replay.curve_tables import find_tables, read_table
from trainable.exit_codes import run
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parent
SCHEDULERS = ("foldrace", "halving", "asha", "ray-asha", "median", "random")
HALVES = {"all": slice(None), "odd": slice(0, None, 2), "even": slice(1, None, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--schedulers", nargs="+", default=list(SCHEDULERS))
    parser.add_argument("--repeats", type=int, default=5, help="orders of configs and folds of each table")
    parser.add_argument("--workers", type=int, default=4, help="fold trials at once")
    parser.add_argument("--out", type=Path, default=HOME / "results" / "foreign_curves.json")
    options = parser.parse_args()
    start, tables = time.monotonic(), find_tables([options.folder])
    rows: list[dict[str, object]] = []
    for name in options.schedulers:
        found: list[list[ReplayOutcome]] = []
        for table in tables:
            source = partial(read_table, table)
            found.append(replay_outcomes(source, [name], options.workers, 0, options.repeats)[name])
        for half, part in HALVES.items():
            outcomes = [each for replays in found[part] for each in replays]
            rows.append({"tables": half, "replays": len(outcomes), **mean_row(name, outcomes)})
        say(f"{time.monotonic() - start:.0f} s: {name}")
        facts = replay_facts("foreign_curves", time.monotonic() - start, len(tables))
        write_json(options.out, {**facts, "results": rows})
    print_table(rows, f"{len(tables)} tables in {options.repeats} orders, {options.workers} workers")


if __name__ == "__main__":
    run(main)
