"""Coverage of confidence intervals on the incomplete tables of pruned runs; writes results/coverage.json.

python benchmarks/coverage.py --count 500 --schedulers foldrace
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import command_line, commit
from search.policies.registry import scheduler
from search.replay.generated_worlds import RECIPES, Recipe, generated_study, make_world
from search.replay.simulation import simulate
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

FIRST_SEED = 700_000


def truth_of(recipe: Recipe, seed: int) -> pd.Series[float]:
    """The mean of each config over the folds of a world without fold-trial noise."""
    noiseless = make_world(replace(recipe, noise_sd=0.0), seed)
    return noiseless[noiseless["step"] == recipe.evaluations].groupby("config")["score"].mean()


def measure(recipe: Recipe, name: str, seed: int) -> dict[str, float]:
    study, truth = generated_study(recipe, seed), truth_of(recipe, seed)
    policy = scheduler(name)(study.entrants, study.folds)
    simulate(policy, study.curves, workers=8)
    found, recorded = policy.assess(), study.means()
    table = pd.DataFrame([asdict(each) for each in found.standings.values()]).set_index("config").join(truth)
    covered = table["score"].between(table["low"], table["high"])
    full = table["folds"] > 0
    result = {
        "score": covered[full].mean(),
        "forecast": covered[~full].mean(),
        "bias": (table["expected"] - table["score"])[full].mean(),
    }
    if found.winner is not None:
        better = truth > truth[found.winner]
        likely = table["chance_any_folds"].between(0.05, 0.5)
        result |= {
            "winner": float(covered[found.winner]),
            "set_holds_recorded_best": float(max(recorded, key=lambda name: recorded[name]) in found.peers),
            "set_holds_best": float(truth.idxmax() in found.peers),
            "set": len(found.peers),
            "chance": table["chance_any_folds"][likely].mean(),
            "better": better.reindex(table.index)[likely].mean(),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="worlds of each kind")
    parser.add_argument("--worlds", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--schedulers", nargs="+", default=["foldrace"])
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "coverage.json")
    options = parser.parse_args()
    start, rows = time.monotonic(), []
    seeds = range(FIRST_SEED, FIRST_SEED + options.count)
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for world in options.worlds:
            for name in options.schedulers:
                result = pd.DataFrame(list(pool.map(partial(measure, RECIPES[world], name), seeds)))
                rows.append(
                    {"world": world, "scheduler": name, "worlds": options.count, **result.mean().round(4).to_dict()}
                )
                say(f"{time.monotonic() - start:.0f} s: {world}, {name}: {rows[-1]}")
    document = {
        "command": command_line(),
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": round(time.monotonic() - start),
        "results": rows,
    }
    write_json(options.out, document)
    print_table(rows, "coverage of nominal 95 % intervals, 72 configs x 5 folds, 8 workers")


if __name__ == "__main__":
    main()
