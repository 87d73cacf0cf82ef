"""Replay recorded curves through the schedulers of other packages, a table each; writes results/peers.json.

    python benchmarks/peers.py FOLDER

It needs syne-tune[gpsearchers]==0.13.0 and smac==2.4.1 besides the packages of the project. What a trial is differs.
For ASHA, PASHA, Hyperband and DyHPO it is one fold of one config, which reports its curve; for Wilcoxon's pruner it is
a config, which trains a fold after the other and reports each; for SMAC's intensifier, whose instances are the folds,
it is a whole fold. Every config is offered once, in the order of the table (DyHPO chooses the order), and the answer is
the config of the trial that the package calls the best. DyHPO would train everything in the end, so it is stopped at
the cost of the fold race on the same table in the same order, and has one worker: with more it starts trials twice.
"""

import argparse
import heapq
import math
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine, replay_facts
from benchmarks.peer_schedulers import PEERS, Peer, Trial
from search.replay.comparison import ReplayOutcome, mean_row, replay_outcome
from search.replay.curve_tables import find_tables, read_table
from search.replay.recorded_study import RecordedStudy
from trainable.exit_codes import run
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parent
PACKAGES = {"ray": "ray", "optuna": "optuna", "syne": "syne-tune", "smac": "smac"}
OURS = ("foldrace", "halving")  # to compare with, if only some of the tables are replayed
SLOW = ("syne-dyhpo",)  # half a minute a table; not part of the default


def drive(peer: Peer, trials: Sequence[Trial], workers: int, budget: float = math.inf) -> tuple[float, float]:
    """The seconds that a simulated cluster trains, and its clock at the end."""
    steps, events = [0] * len(trials), list[tuple[float, int]]()
    clock = used = 0.0
    while True:
        while used < budget and len(events) < workers and (number := peer.next()) is not None:
            heapq.heappush(events, (clock + trials[number].seconds[steps[number]], number))
        if not events or used >= budget:
            return used, clock
        clock, number = heapq.heappop(events)
        trial = trials[number]
        used += trial.seconds[steps[number]]
        steps[number] += 1
        more = peer.report(number, steps[number], trial.scores[steps[number] - 1])
        if more and steps[number] < len(trial.scores):
            heapq.heappush(events, (clock + trial.seconds[steps[number]], number))


def outcome(study: RecordedStudy, name: str, workers: int, seed: int) -> ReplayOutcome:
    if name in OURS:
        return replay_outcome(study, name, workers, seed)
    layout, make = PEERS[name]
    trials = layout(study)
    peer = make(trials, seed)
    budget = math.inf
    if name in SLOW:
        workers, budget = 1, replay_outcome(study, "foldrace", workers, seed).cost * study.seconds
    used, clock = drive(peer, trials, workers, budget)
    means = study.means()
    ranked, winner = sorted(means.values(), reverse=True), means[trials[peer.best()].config]
    best, top = float(winner == ranked[0]), float(winner >= ranked[:3][-1])
    return ReplayOutcome(used / study.seconds, clock, ranked[0] - winner, best, top, math.nan, math.nan)


def row(name: str, found: Sequence[ReplayOutcome]) -> dict[str, object]:
    """The mean of a scheduler; other packages name no set."""
    return {key: None if value != value else value for key, value in mean_row(name, found).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    usual = [*OURS, *(name for name in PEERS if name not in SLOW)]
    parser.add_argument("--peers", nargs="+", default=usual, choices=[*OURS, *PEERS])
    parser.add_argument("--repeats", type=int, default=5, help="orders of configs and folds of each table")
    parser.add_argument("--workers", type=int, default=4, help="trials at once")
    parser.add_argument("--every", type=int, default=1, help="replay every n-th table only")
    parser.add_argument("--out", type=Path, default=HOME / "results" / "peers.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start, tables = time.monotonic(), find_tables([options.folder])[:: options.every]
    packages = [PACKAGES[name.split("-")[0]] for name in options.peers if name not in OURS]
    settings = {"repeats": options.repeats, "workers": options.workers}
    facts = {**replay_facts("peers", 0.0, 0), "machine": machine(*dict.fromkeys(packages)), **settings}
    found: dict[str, list[ReplayOutcome]] = {name: [] for name in options.peers}
    for count, table in enumerate(tables, 1):
        study = read_table(table)
        for repeat in range(options.repeats):
            shuffled = study.shuffled(repeat) if repeat else study
            for name in options.peers:
                found[name].append(outcome(shuffled, name, options.workers, repeat))
        rows = [row(name, found[name]) for name in options.peers]
        facts |= {"seconds": round(time.monotonic() - start), "tables": count}
        write_json(options.out, {**facts, "results": rows})
    say(f"{facts['seconds']} s")
    print_table(rows, f"{len(tables)} tables in {options.repeats} orders, {options.workers} workers")


if __name__ == "__main__":
    run(main)
