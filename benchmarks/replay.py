"""Compare schedulers on generated worlds, and with the targets; writes results/replay.json.

python benchmarks/replay.py --count 200 --baselines 40
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import command_line, commit
from search.replay.comparison import ReplayOutcome, compare, mean_row
from search.replay.generated_worlds import RECIPES, Recipe, generated_study
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

MILD, STRONG = RECIPES["mild"], RECIPES["strong"]
# Worlds not used to choose settings: curves of other shapes, other mixtures of effects.
OTHERS = {
    "power": replace(MILD, shape="power", pace_sd=0.4),
    "cosine": replace(MILD, shape="cosine", pace_sd=0.5),
    "late": replace(MILD, shape="late", pace_sd=0.4),
    "wander": replace(MILD, shape="wander", pace_sd=0.1),
    "half factorial": replace(STRONG, rest_share=0.5),
    "close, strong": replace(STRONG, config_sd=0.005),
    "wobbly": replace(MILD, wobble_sd=0.004, cell_pace_sd=0.15),
}
# (maximum cost, minimum P(best)); P(top 3) must be at least 0.99 and coverage at least 0.95 everywhere
TARGETS = {
    "mild": (0.26, 0.97),
    "strong": (0.26, 0.92),
    "factorial": (0.26, 0.95),
    "close": (0.37, 0.95),
    "noisy": (0.28, 0.93),
}
RACERS, BASELINES = ("foldrace", "halving"), ("asha", "ray-asha", "median", "random", "grid")
FIRST_SEED = 500_000


def measure(world: str, recipe: Recipe, names: Sequence[str], count: int, processes: int) -> list[dict[str, object]]:
    sources = [partial(generated_study, recipe, FIRST_SEED + number) for number in range(count)]
    outcomes: dict[str, list[ReplayOutcome]] = {name: [] for name in names}
    for part in compare(sources, names, workers=8, seed=0, repeats=1, processes=processes):
        for name in names:
            outcomes[name] += part[name]
    return [{"world": world, "worlds": count, **mean_row(name, outcomes[name])} for name in names]


def verdict(row: dict[str, object]) -> str:
    """Which targets a row of foldrace misses or meets."""
    if row["scheduler"] != "foldrace" or row["world"] not in TARGETS:
        return ""
    cost, best = TARGETS[str(row["world"])]
    met = {
        f"cost <= {cost}": row["cost"] <= cost,  # type: ignore[operator]
        f"p_best >= {best}": row["p_best"] >= best,  # type: ignore[operator]
        "p_top3 >= 0.99": row["p_top3"] >= 0.99,  # type: ignore[operator]
        "set_coverage >= 0.95": row["set_coverage"] >= 0.95,  # type: ignore[operator]
    }
    missed = [target for target, reached in met.items() if not reached]
    return "misses " + ", ".join(missed) if missed else f"meets cost <= {cost}, p_best >= {best}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="worlds of each kind for foldrace and halving")
    parser.add_argument("--baselines", type=int, default=40, help="worlds of each kind for the other schedulers")
    parser.add_argument("--others", type=int, default=60, help="worlds of each kind not used to choose settings")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "replay.json")
    options = parser.parse_args()
    start, rows = time.monotonic(), []
    plan = [(name, recipe, RACERS, options.count) for name, recipe in RECIPES.items()]
    plan += [(name, recipe, RACERS, options.others) for name, recipe in OTHERS.items()]
    plan += [(name, recipe, BASELINES, options.baselines) for name, recipe in RECIPES.items()]
    for world, recipe, names, count in plan:
        if count:
            rows += measure(world, recipe, names, count, options.processes)
            say(f"{time.monotonic() - start:.0f} s: {world}, {', '.join(names)}")
    rows = [{**row, "targets": verdict(row)} for row in rows]
    document = {
        "command": command_line(),
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": round(time.monotonic() - start),
        "results": rows,
    }
    write_json(options.out, document)
    print_table(rows, "cost is relative to the GPU-seconds of the full grid, 72 configs x 5 folds, 8 workers")


if __name__ == "__main__":
    main()
