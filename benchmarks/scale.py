"""From 8 to 10,000 GPUs and 360 to 100,000 fold trials with one driver; writes results/scale_cpu2.json.

    python benchmarks/scale.py [--only foldrace:20000:10000] [--folder /dev/shm]
    python benchmarks/scale.py --exact 3000

The real policy, study, journal and ledger on a simulated cluster (benchmarks/simulated_driver.py). A fold trial takes
ten minutes on average and reports ten times. GPUs wait for the driver in a line; a decision takes the CPU time that it
was measured to take, and for each record the time of a sync, measured on the disk of the temporary folder before. Each
run has a process of its own and is kept as soon as it is there. ``--exact`` compares the race of so many configs with
one that is judged at every report.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from benchmarks.simulated_driver import FOLDS, SECONDS, Driver, World, sync_seconds
from search.policies import foldrace
from search.policies.registry import scheduler
from search.runs.journal import read_journal
from search.runs.ledger import ledger
from search.runs.study import replay_lines
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
RUNS = (  # scheduler, configs, GPUs; halving and ASHA look at all configs for every job, so they go only so far
    *(("foldrace", 72, gpus) for gpus in (8, 64)),
    *(("foldrace", 600, gpus) for gpus in (8, 64, 512)),
    *(("foldrace", 4000, gpus) for gpus in (64, 512, 4096)),
    *(("foldrace", 20000, gpus) for gpus in (512, 4096, 10000)),
    *(("halving", configs, gpus) for configs, gpus in ((72, 8), (600, 64), (4000, 512))),
    *(("asha", configs, gpus) for configs, gpus in ((72, 8), (600, 64))),
)
GROWING = ("driver_seconds", "journal_mb", "replay_seconds", "ledger_seconds")
KINDS = ("mild", "factorial", "close")


def run_one(name: str, configs: int, gpus: int, evaluations: int, folder: Path, sync: float) -> dict[str, Any]:
    world = World(configs, evaluations, "mild", seed=1)
    before = memory_mb()
    policy = scheduler(name)([], FOLDS)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        journal = Path(place, "journal.jsonl")
        tally = Driver(policy, world, gpus, journal, sync).run()
        grown, size = memory_mb() - before, journal.stat().st_size
        lines, reading = timed(partial(read_journal, journal))
        _, replaying = timed(partial(replay_lines, scheduler(name)([], FOLDS), lines))
        _, accounting = timed(partial(ledger, lines))
    winner, ideal = policy.answer().winner, tally.busy / gpus
    assert winner is not None
    seconds = math.fsum(tally.decisions)
    return {
        "scheduler": name,
        "fold_trials": configs * FOLDS,
        "gpus": gpus,
        "cost": tally.busy / float(world.seconds.sum()),
        "wall": tally.wall,
        "over_ideal": tally.wall / ideal,
        "chain": float(world.seconds[int(winner[1:])].sum()),
        "idle": 1.0 - tally.busy / (gpus * tally.wall),
        "waits": tally.waited / (gpus * tally.wall),
        "waits_of_busy": tally.waited / tally.busy,
        "decisions": len(tally.decisions),
        "decision_ms": 1e3 * seconds / len(tally.decisions),
        "longest_ms": 1e3 * max(tally.decisions),
        "most_a_second": len(tally.decisions) / seconds,
        "driver_seconds": seconds - sync * len(tally.decisions),
        "launch_seconds": tally.launch,
        "memory_mb": grown,
        "journal_mb": size / 2**20,
        "replay_seconds": reading + replaying,
        "ledger_seconds": accounting,
        "winner_place": world.place(winner),
        "reports": tally.reports,
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    return work(), time.process_time() - began


def memory_mb() -> float:
    """What this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def exponents(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The power of the fold trials with which each grows, and that of n log n over the same range."""
    raced = [row for row in rows if row["scheduler"] == "foldrace"]
    sizes = np.log([row["fold_trials"] for row in raced])
    limit = float(np.polyfit(sizes, sizes + np.log(sizes), 1)[0])
    found = {name: float(np.polyfit(sizes, np.log([row[name] for row in raced]), 1)[0]) for name in GROWING}
    return {name: {"grows": power, "n_log_n": limit} for name, power in found.items()}


def exact(configs: int) -> list[dict[str, Any]]:
    """The same worlds, judged now and then and judged at every report."""
    rows = []
    for kind in KINDS:
        for limit in (foldrace.EXACT, configs):
            foldrace.EXACT = limit
            world, policy = World(configs, 10, kind, seed=1), scheduler("foldrace")([], FOLDS)
            with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
                tally = Driver(policy, world, 512, Path(place, "journal.jsonl"), sync=0.0).run()
            cost, winner = tally.busy / float(world.seconds.sum()), policy.answer().winner
            told = {"world": kind, "judged at every report": limit >= configs, "cost": cost, "wall": tally.wall}
            rows.append(
                {**told, "winner_place": world.place(str(winner)), "driver_seconds": math.fsum(tally.decisions)}
            )
            say(str(rows[-1]))
        foldrace.EXACT = 1_000
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="SCHEDULER:CONFIGS:GPUS, may be given several times")
    parser.add_argument("--evaluations", type=int, default=10, help="reports of each fold trial")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the journals are written"
    )
    parser.add_argument("--exact", type=int, help="configs of the comparison with a race judged at every report")
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/scale_cpu2.json")
    parser.add_argument("--part", nargs=2, metavar=("RUN", "SYNC"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        name, configs, gpus = asked.part[0].split(":")
        made = run_one(name, int(configs), int(gpus), asked.evaluations, asked.folder, float(asked.part[1]))
        print(json.dumps(made))
        return
    document = json.loads(asked.out.read_text()) if asked.out.exists() else {"runs": []}
    if asked.exact:
        document["judging"] = exact(asked.exact)
        write_json(asked.out, document)
        return
    sync = sync_seconds(Path(tempfile.gettempdir()))
    rows = {(row["scheduler"], row["fold_trials"], row["gpus"], row["evaluations"]): row for row in document["runs"]}
    for run in asked.only or [":".join(map(str, run)) for run in RUNS]:
        say(f"{run}, {asked.evaluations} reports of each fold trial")
        options = ["--evaluations", str(asked.evaluations), "--folder", str(asked.folder)]
        command = [sys.executable, __file__, "--part", run, str(sync), *options]
        done = subprocess.run(command, cwd=HOME, check=True, stdout=subprocess.PIPE, text=True)
        row = {**json.loads(done.stdout), "evaluations": asked.evaluations, "sync_ms": 1e3 * sync}
        rows[row["scheduler"], row["fold_trials"], row["gpus"], row["evaluations"]] = row
        document |= {"command": "python benchmarks/scale.py", "machine": machine(), "fold_trial_seconds": SECONDS}
        document["runs"] = [rows[key] for key in sorted(rows)]
        usual = [row for row in document["runs"] if row["evaluations"] == 10]
        if len({row["fold_trials"] for row in usual if row["scheduler"] == "foldrace"}) > 1:
            document["growth"] = exponents(usual)
        write_json(asked.out, document)
    shown = ("fold_trials", "gpus", "decision_ms", "most_a_second", "waits", "idle", "over_ideal", "memory_mb")
    print_table([{"": row["scheduler"], **{name: row[name] for name in shown}} for row in document["runs"]])
    for name, power in document.get("growth", {}).items():
        print(f"{name} grows as n^{power['grows']:.2f}; n log n is n^{power['n_log_n']:.2f} here")


if __name__ == "__main__":
    main()
