"""Measure one driver with 8 to 10,000 GPUs and 360 to 100,000 fold trials; writes results/scale_cpu2.json.

    python benchmarks/scale.py [--only foldrace:20000:10000] [--folder /dev/shm]
    python benchmarks/scale.py --exact 3000
    python benchmarks/scale.py --in-advance 4000:2000

Runs the real policy, study, journal and ledger on a simulated cluster (benchmarks/simulated_driver.py). A fold trial
takes ten minutes on average and reports ten times. GPUs queue for the driver; a decision takes its measured CPU time
plus, for each record, the time of a sync, measured beforehand on the disk of the temporary folder. Each run has its own
process and is saved once it ends. ``--exact`` compares a race of this many configs with one evaluated at every report,
``--in-advance`` one of CONFIGS:GPUS with one in which a config trains one fold at a time.
"""

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

from benchmarks.machine import commit, machine
from benchmarks.simulated_driver import FOLDS, SECONDS, Driver, World, sync_seconds
from search.policies import foldrace
from search.policies.registry import scheduler
from search.runs.journal import read_journal
from search.runs.ledger import ledger
from search.runs.study import replay_lines
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
RUNS = (  # (scheduler, configs, GPUs); halving and ASHA examine all configs for each job, so they get smaller runs
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
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        journal = Path(scratch, "journal.jsonl")
        tally = Driver(policy, world, gpus, journal, sync).run()
        memory, size = memory_mb() - before, journal.stat().st_size
        lines, reading = measure_cpu(partial(read_journal, journal))
        _, replaying = measure_cpu(partial(replay_lines, scheduler(name)([], FOLDS), lines))
        _, accounting = measure_cpu(partial(ledger, lines))
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
        "memory_mb": memory,
        "journal_mb": size / 2**20,
        "replay_seconds": reading + replaying,
        "ledger_seconds": accounting,
        "winner_place": world.rank(winner),
        "reports": tally.reports,
    }


def measure_cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return work(), time.process_time() - start


def memory_mb() -> float:
    """The resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def exponents(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The exponent with which each figure grows with the fold trials, and that of n log n over the same range."""
    rows_of_race = [row for row in rows if row["scheduler"] == "foldrace"]
    sizes = np.log([row["fold_trials"] for row in rows_of_race])
    limit = float(np.polyfit(sizes, sizes + np.log(sizes), 1)[0])
    powers = {name: float(np.polyfit(sizes, np.log([row[name] for row in rows_of_race]), 1)[0]) for name in GROWING}
    return {name: {"grows": power, "n_log_n": limit} for name, power in powers.items()}


def exact(configs: int) -> list[dict[str, Any]]:
    """The same worlds, evaluated periodically and evaluated at every report."""
    rows = []
    for kind in KINDS:
        for limit in (foldrace.EXACT, configs):
            foldrace.EXACT = limit
            world, policy = World(configs, 10, kind, seed=1), scheduler("foldrace")([], FOLDS)
            with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
                tally = Driver(policy, world, 512, Path(scratch, "journal.jsonl"), sync=0.0).run()
            cost, winner = tally.busy / float(world.seconds.sum()), policy.answer().winner
            row = {"world": kind, "judged at every report": limit >= configs, "cost": cost, "wall": tally.wall}
            rows.append({**row, "winner_place": world.rank(str(winner)), "driver_seconds": math.fsum(tally.decisions)})
            say(str(rows[-1]))
        foldrace.EXACT = 1_000
    return rows


def in_advance(configs: int, gpus: int) -> list[dict[str, Any]]:
    """The same world, where idle workers train folds in advance and where they do not.

    Their work costs something, so the time to the winner is also given relative to perfect packing without it.
    """
    rows: list[dict[str, Any]] = []
    for left in (0.0, foldrace.LEFT):
        foldrace.LEFT = left
        world, policy = World(configs, 10, "mild", seed=1), scheduler("foldrace")([], FOLDS)
        with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
            tally = Driver(policy, world, gpus, Path(scratch, "journal.jsonl"), sync=0.0).run()
        cost, winner = tally.busy / float(world.seconds.sum()), policy.answer().winner
        ratios = {"over_ideal": tally.wall * gpus / tally.busy}
        ratios["over_ideal_without"] = tally.wall * gpus / (rows[0]["busy"] if rows else tally.busy)
        row = {"fold_trials": configs * FOLDS, "gpus": gpus, "share": left, "cost": cost, "wall": tally.wall, **ratios}
        row["busy"] = tally.busy
        rows.append({**row, "winner_place": world.rank(str(winner))})
        say(str(rows[-1]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="SCHEDULER:CONFIGS:GPUS; can be repeated")
    parser.add_argument("--evaluations", type=int, default=10, help="reports per fold trial")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="folder for the journals")
    parser.add_argument("--exact", type=int, help="configs of the comparison with a race evaluated at every report")
    parser.add_argument("--in-advance", metavar="CONFIGS:GPUS", help="compare with one fold of a config at a time")
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/scale_cpu2.json")
    parser.add_argument("--part", nargs=2, metavar=("RUN", "SYNC"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, configs, gpus = options.part[0].split(":")
        row = run_one(name, int(configs), int(gpus), options.evaluations, options.folder, float(options.part[1]))
        print(json.dumps(row))
        return
    document = json.loads(options.out.read_text()) if options.out.exists() else {"runs": []}
    if options.exact:
        document["judging"] = exact(options.exact)
        write_json(options.out, document)
        return
    if options.in_advance:
        document["in_advance"] = in_advance(*map(int, options.in_advance.split(":")))
        write_json(options.out, document)
        return
    sync, at = sync_seconds(Path(tempfile.gettempdir())), commit()  # before the first row changes a file
    rows = {(row["scheduler"], row["fold_trials"], row["gpus"], row["evaluations"]): row for row in document["runs"]}
    for run in options.only or [":".join(map(str, run)) for run in RUNS]:
        say(f"{run}, {options.evaluations} reports per fold trial")
        arguments = ["--evaluations", str(options.evaluations), "--folder", str(options.folder)]
        command = [sys.executable, __file__, "--part", run, str(sync), *arguments]
        done = subprocess.run(command, cwd=HOME, check=True, stdout=subprocess.PIPE, text=True)
        row = {**json.loads(done.stdout), "evaluations": options.evaluations, "sync_ms": 1e3 * sync, "commit": at}
        rows[row["scheduler"], row["fold_trials"], row["gpus"], row["evaluations"]] = row
        document |= {"command": "python benchmarks/scale.py", "machine": machine()}
        document["fold_trial_seconds"] = SECONDS
        document["runs"] = [rows[key] for key in sorted(rows)]
        default_rows = [row for row in document["runs"] if row["evaluations"] == 10]
        if len({row["fold_trials"] for row in default_rows if row["scheduler"] == "foldrace"}) > 1:
            document["growth"] = exponents(default_rows)
        write_json(options.out, document)
    columns = ("fold_trials", "gpus", "decision_ms", "most_a_second", "waits", "idle", "over_ideal", "memory_mb")
    print_table([{"": row["scheduler"], **{name: row[name] for name in columns}} for row in document["runs"]])
    for name, power in document.get("growth", {}).items():
        print(f"{name} grows as n^{power['grows']:.2f}; n log n is n^{power['n_log_n']:.2f} here")


if __name__ == "__main__":
    main()
