"""Inject random faults into scripted searches on a small local Ray cluster, and measure what each kind of fault costs.

    python benchmarks/chaos.py [--faults 200] [--searches 8] [--seed 0]

Each search gets faults of one kind, or of all external kinds, and is relaunched with the same command if it ends early.
Its outcome is compared with that of the same search without faults. Finished searches are saved: if this command is
interrupted, running it again continues with the remaining ones.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(1, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests/support"))

from fake_cluster import FakeCluster
from run_outcome import outcome_of

from benchmarks.fault_injection import Search, drain_machine, inject_any, kill_driver, kill_machine, kill_worker
from benchmarks.machine import machine
from search.engine.job_feed import NODE_LEFT
from search.runs.ledger import ledger
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
NODES = 3

# kind of fault: (function that injects it, faults per search) or (fault in the script, faults per fold trial)
EXTERNAL: dict[str, tuple[Callable[[Search], bool], int]] = {
    "worker killed": (kill_worker, 30),
    "machine killed, another one comes": (kill_machine, 10),
    "machine drained and taken away": (drain_machine, 10),
    "driver killed, launched again": (kill_driver, 8),
    "any of these": (inject_any, 12),
}
SCRIPTED = {"fold trial hangs": ("hang", 1), "fold trial crashes": ("crash", 3), "disk full": ("disk_full", 1)}
KINDS = [*EXTERNAL, *SCRIPTED]


def space_of(world: int, scheduler: str, seed: int, rng: random.Random, kind: str | None) -> dict[str, Any]:
    """A space whose configs differ so much that the winner does not depend on the order of the fold trials."""
    world_rng = random.Random(f"{seed} {world}")
    parameters: dict[str, Any] = {
        "quality": {"values": world_rng.sample([round(0.60 + 0.03 * k, 2) for k in range(6)], 6)},
        "noise": 0.002,
        "seed": world,
        "steps": 20,
        "evaluations": 20,
        "step_seconds": 0.15,
        "fault": "none",
    }
    if kind in SCRIPTED:
        fault, times = SCRIPTED[kind]
        parameters |= {"fault": fault, "fault_times": times, "fault_step": rng.randint(2, 6)}
    return {
        "folds": 2,
        "trainable": "scripted",
        "parameters": parameters,
        "scheduler": scheduler,
        "resources": {"gpu": 1, "cpu": 1},
    }


def run_without_faults(cluster: FakeCluster, options: argparse.Namespace, world: int, scheduler: str) -> dict[str, Any]:
    space = space_of(world, scheduler, options.seed, random.Random(0), None)
    search = Search(cluster, options.runs / f"undisturbed-{world}-{scheduler}", space, random.Random(0))
    if not search.run_to_end([], None):
        sys.exit(f"a search without faults failed: see {search.folder}/driver.log")
    return result_of(search)


def result_of(search: Search) -> dict[str, Any]:
    outcome, lines = outcome_of(search.run), search.run.lines()
    return {
        "reports": outcome.reports,
        "lost": len(outcome.lost),
        "doubled": len(outcome.duplicated),
        "decided_otherwise": outcome.changed_decisions,
        "blamed": sum(line.kind == "fault" and line.fields["fault"] != NODE_LEFT for line in lines),
        "given_up": len(list(search.run.folder.glob("configs/*/fold_*/error.txt"))),
        "winner": outcome.winner and outcome.winner["quality"],
        "busy": ledger(lines).busy / 1e6,
        "wall": lines[-1].at - lines[0].at,
        "launches": search.launches,
    }


def run_with_faults(
    cluster: FakeCluster, options: argparse.Namespace, number: int, saved: dict[str, Any]
) -> dict[str, Any]:
    """Run the search with this number and compare it with the same search without faults."""
    kind, world = KINDS[number % len(KINDS)], number // len(KINDS)
    scheduler = ("foldrace", "grid")[(number + world) % 2]
    name = f"undisturbed {world} {scheduler}"
    if name not in saved:
        saved[name] = run_without_faults(cluster, options, world, scheduler)
    reference = saved[name]
    rng = random.Random(f"{options.seed} {number}")
    search = Search(cluster, options.runs / f"{number}", space_of(world, scheduler, options.seed, rng, kind), rng)
    inject, count = EXTERNAL.get(kind, (None, 0))
    ended = search.run_to_end(sorted(rng.sample(range(3, reference["reports"] - 3), count)), inject)
    result = result_of(search)
    faults = search.injected + search.scripted
    return {
        "kind": kind,
        "scheduler": scheduler,
        "faults": faults,
        "survived": faults if ended else faults - 1,
        "winner_kept": ended and result["winner"] == reference["winner"],
        "busy_per_fault": (result["busy"] - reference["busy"]) / faults,
        "wall_per_fault": (result["wall"] - reference["wall"]) / faults,
        **result,
    }


def summary(searches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for kind in [*KINDS, "all"]:
        chosen = [search for search in searches if kind in (search["kind"], "all")]
        if chosen:
            rows.append(
                {
                    "kind": kind,
                    "searches": len(chosen),
                    **{key: sum(search[key] for search in chosen) for key in ("faults", "survived", "lost", "doubled")},
                    "decided otherwise": sum(search["decided_otherwise"] for search in chosen),
                    "blamed on fold trials": sum(search["blamed"] for search in chosen),
                    "configs given up": sum(search["given_up"] for search in chosen),
                    "winner kept": sum(search["winner_kept"] for search in chosen),
                    "busy s per fault": round(median(search["busy_per_fault"] for search in chosen), 1),
                    "wall s per fault": round(median(search["wall_per_fault"] for search in chosen), 1),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200, help="minimum number of faults")
    parser.add_argument("--searches", type=int, default=len(KINDS), help="minimum number; more if --faults needs them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/chaos_cpu2.json")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "scribble-search-chaos")
    options = parser.parse_args()
    path = options.runs / f"kept-{options.seed}.json"
    saved: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    start, number, faults = time.monotonic() - saved.get("seconds", 0.0), 0, 0
    cluster = FakeCluster(NODES)
    try:
        with progress_bar("faults") as progress:
            while number < options.searches or faults < options.faults:
                if str(number) not in saved:
                    saved[str(number)] = run_with_faults(cluster, options, number, saved)
                    saved["seconds"] = time.monotonic() - start
                    write_json(path, saved)
                result = saved[str(number)]
                say(f"{saved['seconds']:.0f} s: search {number}: {json.dumps(result)}")
                number, faults = number + 1, faults + result["faults"]
                progress(faults, max(faults, options.faults))
    finally:
        cluster.close()
    rows = summary([saved[str(each)] for each in range(number)])
    settings = f"--faults {options.faults} --searches {options.searches} --seed {options.seed}"
    command = f"python benchmarks/chaos.py {settings}"
    document = {"command": command, "machine": machine("ray"), "seconds": round(saved["seconds"]), "summary": rows}
    write_json(options.out, {**document, "searches": [saved[str(each)] for each in range(number)]})
    print_table(rows, f"{faults} faults on {machine('ray')['cpu']}")
    failures = sum(rows[-1][key] for key in ("lost", "doubled", "decided otherwise", "configs given up"))
    sys.exit(int(bool(failures) or rows[-1]["winner kept"] < number))


if __name__ == "__main__":
    main()
