"""How often the intervals hold the truth on the tables schedulers leave behind; writes results/coverage.json.

python benchmarks/coverage.py --count 500 --schedulers foldrace
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.statistics.config_effects import config_effects
from analysis.statistics.expected_scores import expected_scores
from search.policies.contract import Policy
from search.policies.registry import scheduler
from search.replay.generated_worlds import RECIPES, Recipe, generated_study, make_world
from search.replay.simulation import simulate
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

FIRST_SEED = 700_000


def truth_of(recipe: Recipe, seed: int) -> pd.Series[float]:
    """What every config gives over the folds of a world when no noise of single fold trials is added to it."""
    quiet = make_world(replace(recipe, noise_sd=0.0), seed)
    return quiet[quiet["step"] == recipe.evaluations].groupby("config")["score"].mean()


def tables_of(policy: Policy) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trials and curves of a race as the analysis of a run has them."""
    score_table, trials, curves = policy.score_table, [], []
    for name, entrant in score_table.entrants.items():
        for fold in range(score_table.folds):
            curve, full = score_table.curve(name, fold), score_table.full(name, fold)
            step = max(curve, default=0)
            state = "paused" if full is None else "done"
            trials.append((name, fold, state, step, entrant.horizon, np.nan if full is None else full))
            curves += [(name, fold, at, score) for at, score in curve.items()]
    columns = ["config", "fold", "state", "step", "of", "full"]
    return pd.DataFrame(trials, columns=columns), pd.DataFrame(curves, columns=["config", "fold", "step", "score"])


def measure(recipe: Recipe, name: str, seed: int) -> dict[str, float]:
    study, truth = generated_study(recipe, seed), truth_of(recipe, seed)
    policy = scheduler(name)(study.entrants, study.folds)
    simulate(policy, study.curves, workers=8)
    trials, curves = tables_of(policy)
    winner = policy.answer().winner
    effects = config_effects(expected_scores(trials, curves))
    table = effects.table.assign(truth=truth)
    held = table["truth"].between(table["low"], table["high"])
    apart = table["truth"] - table["truth"].mean()
    found = {
        "score": held.mean(),
        "effect": apart.between(table["effect_low"], table["effect_high"]).mean(),
        "bias": (table["score"] - table["truth"]).mean(),
    }
    if winner is not None:
        peers = effects.peers(winner)
        found |= {"winner": float(held[winner]), "set_holds_best": float(truth.idxmax() in peers), "set": len(peers)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="worlds of each kind")
    parser.add_argument("--worlds", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--schedulers", nargs="+", default=["foldrace"])
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "coverage.json")
    asked = parser.parse_args()
    began, rows = time.monotonic(), []
    seeds = range(FIRST_SEED, FIRST_SEED + asked.count)
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        for world in asked.worlds:
            for name in asked.schedulers:
                found = pd.DataFrame(list(pool.map(partial(measure, RECIPES[world], name), seeds)))
                rows.append(
                    {"world": world, "scheduler": name, "worlds": asked.count, **found.mean().round(4).to_dict()}
                )
                say(f"{time.monotonic() - began:.0f} s: {world}, {name}: {rows[-1]}")
    document = {
        "command": " ".join(["python", "benchmarks/coverage.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": round(time.monotonic() - began),
        "results": rows,
    }
    write_json(asked.out, document)
    print_table(rows, "share of nominal 95 % intervals that hold the truth, 72 configs x 5 folds, 8 workers")


if __name__ == "__main__":
    main()
