"""Random faults over scripted searches on a small Ray cluster of this machine: what each kind costs, and what survives.

    python benchmarks/chaos.py [--faults 200] [--searches 8] [--seed 0]

Each search suffers faults of one kind, or of all that come from outside, and is launched again by the same command
whenever it ended before its end. What it came to is compared with the same search undisturbed. Searches that are over
are kept: cut off, the same command goes on with the others.
"""

from __future__ import annotations

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
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

from fake_cluster import FakeCluster
from hurt import Search, any_of_these, kill_driver, kill_machine, kill_worker, take_machine
from run_outcome import outcome_of

from benchmarks.machine import machine
from search.engine.job_feed import NODE_LEFT
from search.runs.ledger import ledger
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
NODES = 3

# kind: (what hurts it, how often in a search; or what its script says, how often in a fold trial)
OUTSIDE: dict[str, tuple[Callable[[Search], bool], int]] = {
    "worker killed": (kill_worker, 30),
    "machine killed, another one comes": (kill_machine, 10),
    "machine drained and taken away": (take_machine, 10),
    "driver killed, launched again": (kill_driver, 8),
    "any of these": (any_of_these, 12),
}
SCRIPTED = {"fold trial hangs": ("hang", 1), "fold trial crashes": ("crash", 3), "disk full": ("disk_full", 1)}
KINDS = [*OUTSIDE, *SCRIPTED]


def space_of(world: int, scheduler: str, seed: int, rng: random.Random, kind: str | None) -> dict[str, Any]:
    """Configs far enough apart that every order in which their folds are trained gives the same winner."""
    drawn = random.Random(f"{seed} {world}")
    parameters: dict[str, Any] = {
        "quality": {"values": drawn.sample([round(0.60 + 0.03 * k, 2) for k in range(6)], 6)},
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


def undisturbed(cluster: FakeCluster, asked: argparse.Namespace, world: int, scheduler: str) -> dict[str, Any]:
    space = space_of(world, scheduler, asked.seed, random.Random(0), None)
    search = Search(cluster, asked.runs / f"undisturbed-{world}-{scheduler}", space, random.Random(0))
    if not search.to_the_end([], None):
        sys.exit(f"an undisturbed search fails: see {search.folder}/talk.txt")
    return told(search)


def told(search: Search) -> dict[str, Any]:
    """What a search came to."""
    after, lines = outcome_of(search.run), search.run.lines()
    return {
        "reports": after.reports,
        "lost": len(after.lost),
        "doubled": len(after.duplicated),
        "decided_otherwise": after.changed_decisions,
        "blamed": sum(line.kind == "fault" and line.fields["fault"] != NODE_LEFT for line in lines),
        "given_up": len(list(search.run.folder.glob("configs/*/fold_*/error.txt"))),
        "winner": after.winner and after.winner["quality"],
        "busy": ledger(lines).busy / 1e6,
        "wall": lines[-1].at - lines[0].at,
        "launches": search.launches,
    }


def tormented(cluster: FakeCluster, asked: argparse.Namespace, number: int, kept: dict[str, Any]) -> dict[str, Any]:
    """The search of this number, and how it compares with the same one undisturbed."""
    kind, world = KINDS[number % len(KINDS)], number // len(KINDS)
    scheduler = ("foldrace", "grid")[(number + world) % 2]
    name = f"undisturbed {world} {scheduler}"
    if name not in kept:
        kept[name] = undisturbed(cluster, asked, world, scheduler)
    calm = kept[name]
    rng = random.Random(f"{asked.seed} {number}")
    search = Search(cluster, asked.runs / f"{number}", space_of(world, scheduler, asked.seed, rng, kind), rng)
    hurt, count = OUTSIDE.get(kind, (None, 0))
    ended = search.to_the_end(sorted(rng.sample(range(3, calm["reports"] - 3), count)), hurt)
    found = told(search)
    faults = search.inflicted + search.scripted
    return {
        "kind": kind,
        "scheduler": scheduler,
        "faults": faults,
        "survived": faults if ended else faults - 1,
        "winner_kept": ended and found["winner"] == calm["winner"],
        "busy_per_fault": (found["busy"] - calm["busy"]) / faults,
        "wall_per_fault": (found["wall"] - calm["wall"]) / faults,
        **found,
    }


def summary(searches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for kind in [*KINDS, "all"]:
        of = [search for search in searches if kind in (search["kind"], "all")]
        if of:
            rows.append(
                {
                    "kind": kind,
                    "searches": len(of),
                    **{key: sum(search[key] for search in of) for key in ("faults", "survived", "lost", "doubled")},
                    "decided otherwise": sum(search["decided_otherwise"] for search in of),
                    "blamed on fold trials": sum(search["blamed"] for search in of),
                    "configs given up": sum(search["given_up"] for search in of),
                    "winner kept": sum(search["winner_kept"] for search in of),
                    "busy s per fault": round(median(search["busy_per_fault"] for search in of), 1),
                    "wall s per fault": round(median(search["wall_per_fault"] for search in of), 1),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200, help="at least so many")
    parser.add_argument("--searches", type=int, default=len(KINDS), help="at least so many; more if faults lack")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/chaos_cpu2.json")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "scribble-search-chaos")
    asked = parser.parse_args()
    path = asked.runs / f"kept-{asked.seed}.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    began, number, faults = time.monotonic() - kept.get("seconds", 0.0), 0, 0
    cluster = FakeCluster(NODES)
    try:
        with progress_bar("faults") as progress:
            while number < asked.searches or faults < asked.faults:
                if str(number) not in kept:
                    kept[str(number)] = tormented(cluster, asked, number, kept)
                    kept["seconds"] = time.monotonic() - began
                    write_json(path, kept)
                found = kept[str(number)]
                say(f"{kept['seconds']:.0f} s: search {number}: {json.dumps(found)}")
                number, faults = number + 1, faults + found["faults"]
                progress(faults, max(faults, asked.faults))
    finally:
        cluster.close()
    rows = summary([kept[str(each)] for each in range(number)])
    command = f"python benchmarks/chaos.py --faults {asked.faults} --searches {asked.searches} --seed {asked.seed}"
    document = {"command": command, "machine": machine("ray"), "seconds": round(kept["seconds"]), "summary": rows}
    write_json(asked.out, {**document, "searches": [kept[str(each)] for each in range(number)]})
    print_table(rows, f"{faults} faults on {machine('ray')['cpu']}")
    bad = sum(rows[-1][what] for what in ("lost", "doubled", "decided otherwise", "configs given up"))
    sys.exit(int(bool(bad) or rows[-1]["winner kept"] < number))


if __name__ == "__main__":
    main()
