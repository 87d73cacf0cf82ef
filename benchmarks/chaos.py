"""Inject random faults into searches on a small local Ray cluster, and measure what each kind of fault costs.

    python benchmarks/chaos.py [--faults 250] [--seed 0] [--only "links cut:torch"]

Each search gets faults of one kind, or of all that a cluster of processes can have, and is relaunched with the same
command if it ends early. Its fold trials are scripted, train a network, segment single images, or are pre-trained
first. Its outcome is compared with that of the same search without faults. Finished searches are saved: if this command
is interrupted, running it again continues with the remaining ones. It needs the rights of root for namespaces and small
disks, a C compiler for clocks that jump, and moto for an object store. Each search has the commit at which it ran.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

sys.path.insert(1, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests/support"))

from run_outcome import outcome_of

from benchmarks.chaos_clusters import LinkedCluster, ProcessCluster
from benchmarks.chaos_victims import PRETRAINING, SCRIPTED, SCRIPTED_FAULTS, VICTIMS, make_data, space_of
from benchmarks.fault_injection import (
    Inject,
    Search,
    cut_link,
    drain_machine,
    fill_disk,
    inject_any,
    kill_driver,
    kill_machine,
    kill_worker,
    move_clock,
    stop_store,
)
from benchmarks.machine import commit, machine
from search.engine.job_feed import NODE_LEFT
from search.run_storage.stored_run import StoredRun
from search.runs.ledger import ledger
from trainable.errors import UserError
from trainable.exit_codes import run as run_program
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
NODES = 3
LINKS, CLOCK, ANY = "links cut", "clock jumps", "any of these"
STORED = ("storage goes away", "disk of a node full", ANY)  # kinds of runs in an object store

# kind of fault: (function that injects it, faults per search)
EXTERNAL: dict[str, tuple[Inject, int]] = {
    "worker killed": (kill_worker, 12),
    "machine killed, another one comes": (kill_machine, 6),
    "machine drained and taken away": (drain_machine, 6),
    "driver killed, launched again": (kill_driver, 4),
    LINKS: (cut_link, 5),
    "storage goes away": (stop_store, 5),
    CLOCK: (move_clock, 10),
    "disk of a node full": (fill_disk, 5),
    ANY: (inject_any, 8),
}
KINDS = [*EXTERNAL, *SCRIPTED_FAULTS]
# The first searches have every kind of fault once, and every kind of fold trial.
TURNS = [
    [(kind, VICTIMS[(place + turn) % len(VICTIMS)]) for place, kind in enumerate(EXTERNAL)]
    for turn in range(len(VICTIMS))
]
ROUND = [*TURNS[0], *((kind, SCRIPTED) for kind in SCRIPTED_FAULTS), *(pair for turn in TURNS[1:] for pair in turn)]


@dataclass
class Clusters:
    """The cluster that the current search needs; there is never more than one."""

    folder: Path
    current: ProcessCluster | LinkedCluster | None = None
    kind: str = field(default="")

    def get(self, linked: bool) -> Any:
        kind = "linked" if linked else "processes"
        if kind != self.kind:
            self.close()
            folder = self.folder / kind
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                self.current = LinkedCluster(folder) if linked else ProcessCluster(NODES, folder)
            except OSError as error:
                raise UserError(f"this machine does not allow what the faults need: {error}") from None
            self.kind = kind
        if isinstance(self.current, ProcessCluster):
            self.current.refresh()
        return self.current

    def close(self) -> None:
        if self.current is not None:
            self.current.close()
        self.current, self.kind = None, ""


def run_without_faults(clusters: Clusters, options: argparse.Namespace, victim: str, world: int, scheduler: str) -> Any:
    space = space_of(victim, None, world, scheduler, options.seed, options.data)
    folder = options.runs / f"undisturbed-{world}-{scheduler}-{victim}"
    search = Search(clusters.get(linked=False), folder, space, random.Random(0))
    if not search.run_to_end([], None):
        raise UserError(f"a search without faults failed: see {search.folder}/driver.log")
    return result_of(search)


def result_of(search: Search) -> dict[str, Any]:
    if isinstance(search.run, StoredRun):
        with patch.dict(os.environ, search.environment):
            search.run.fetch("configs/*/fold_*/metrics.jsonl")
    outcome, lines = outcome_of(search.run), search.run.lines()
    reports = [line.fields for line in lines if line.kind == "report"]
    return {
        "reports": outcome.reports,
        "lost": len(outcome.lost),
        "doubled": len(outcome.duplicated),
        "decided_otherwise": outcome.changed_decisions,
        "blamed": sum(line.kind == "fault" and line.fields["fault"] != NODE_LEFT for line in lines),
        "given_up": len({each["config"] for each in reports if each["score"] != each["score"]}),
        "winner": outcome.winner,
        "busy": ledger(lines).busy / 1e6,
        "wall": search.seconds,
        "launches": search.launches,
        "scores": {f"{each['config']} {each['fold']} {each['step']}": each["score"] for each in reports},
    }


def run_with_faults(
    clusters: Clusters, options: argparse.Namespace, number: int, pair: tuple[str, str], saved: dict[str, Any]
) -> dict[str, Any]:
    """Run the search with this number and compare it with the same search without faults."""
    (kind, victim), world = pair, number // len(ROUND)
    scheduler = ("foldrace", "grid")[(number + world) % 2] if victim == SCRIPTED else "grid"
    name = f"undisturbed {world} {scheduler} {victim}"
    if name not in saved:
        saved[name] = run_without_faults(clusters, options, victim, world, scheduler)
    reference = saved[name]
    rng = random.Random(f"{options.seed} {number}")
    space = space_of(victim, kind, world, scheduler, options.seed, options.data)
    by_time = victim == PRETRAINING
    cluster, stored = clusters.get(linked=kind == LINKS), kind in STORED
    search = Search(cluster, options.runs / f"{number}", space, rng, stored=stored, by_time=by_time)
    inject, count = EXTERNAL.get(kind, (None, 0))
    last = 0.8 * reference["wall"] if by_time else reference["reports"] - 3
    times = sorted(rng.uniform(1, last) for _ in range(count))
    ended = search.run_to_end(times, inject)
    result = result_of(search)
    scores = result.pop("scores")
    faults = search.injected + search.scripted
    return {
        "commit": commit(),
        "kind": kind,
        "victim": victim,
        "scheduler": scheduler,
        "faults": faults,
        "survived": faults if ended else faults - 1,
        "winner_kept": ended and result["winner"] == reference["winner"],
        "other_scores": sum(reference["scores"].get(key, score) != score for key, score in scores.items()),
        "busy_per_fault": None if kind in (CLOCK, ANY) else (result["busy"] - reference["busy"]) / max(1, faults),
        "wall_per_fault": (result["wall"] - reference["wall"]) / max(1, faults),
        **result,
    }


def summary(searches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per kind of fault, one per kind of fold trial, and one of all."""
    rows = []
    for kind in [*KINDS, *VICTIMS, "all"]:
        chosen = [search for search in searches if kind in (search["kind"], search["victim"], "all")]
        if not chosen:
            continue
        busy = [search["busy_per_fault"] for search in chosen if search["busy_per_fault"] is not None]
        rows.append(
            {
                "kind": kind,
                "searches": len(chosen),
                **{key: sum(search[key] for search in chosen) for key in ("faults", "survived", "lost", "doubled")},
                "decided otherwise": sum(search["decided_otherwise"] for search in chosen),
                "other scores": sum(search["other_scores"] for search in chosen),
                "blamed on fold trials": sum(search["blamed"] for search in chosen),
                "configs given up": sum(search["given_up"] for search in chosen),
                "winner kept": sum(search["winner_kept"] for search in chosen),
                "busy s per fault": round(median(busy), 1) if busy else None,
                "wall s per fault": round(median(search["wall_per_fault"] for search in chosen), 1),
            }
        )
    return rows


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=250, help="minimum number of faults")
    parser.add_argument("--searches", type=int, default=len(ROUND), help="minimum number; more if --faults needs them")
    parser.add_argument("--minutes", type=float, help="begin no other search after this time, whatever the minimum is")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", metavar="KIND[:VICTIM]", help="only these searches; can be repeated")
    parser.add_argument("--note", default="", help="recorded with the result: what else the machine was doing")
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/chaos_cpu2.json")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "scribble-search-chaos")
    return parser.parse_args()


def chosen_pairs(only: list[str] | None) -> list[tuple[str, str]]:
    wanted = [tuple(each.split(":")) for each in only or []]
    pairs = [pair for pair in ROUND if not wanted or any(pair[: len(each)] == each for each in wanted)]
    if not pairs:
        raise UserError(f"--only {' '.join(only or [])}: there is no such search; kinds are {', '.join(KINDS)}")
    return pairs


def main() -> None:
    options = parsed()
    pairs = chosen_pairs(options.only)
    path = options.runs / f"kept-{options.seed}.json"
    saved: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    options.data = make_data(options.runs / "data")
    before = saved.get("seconds", 0.0)
    start, searches, faults = time.monotonic() - before, list[dict[str, Any]](), 0
    clusters = Clusters(options.runs)
    try:
        with progress_bar("faults") as progress:
            rounds = ((number, ROUND[number % len(ROUND)]) for number in range(10**6))
            for number, pair in rounds:
                if pair not in pairs:
                    continue
                enough = len(searches) >= min(options.searches, len(pairs)) and faults >= options.faults
                late = options.minutes is not None and time.monotonic() - start - before > 60 * options.minutes
                if enough or (late and searches):
                    break
                if str(number) not in saved:
                    saved[str(number)] = run_with_faults(clusters, options, number, pair, saved)
                    saved["seconds"] = time.monotonic() - start
                    write_json(path, saved)
                result = saved[str(number)]
                say(f"{saved['seconds']:.0f} s: search {number}: {json.dumps(result)}")
                searches.append(result)
                faults += result["faults"]
                progress(faults, max(faults, options.faults))
    finally:
        clusters.close()
    sys.exit(write_result(options, searches, saved["seconds"]))


def write_result(options: argparse.Namespace, searches: list[dict[str, Any]], seconds: float) -> int:
    """Write and print the result; 1 if anything was lost, doubled or changed."""
    rows = summary(searches)
    command = f"python benchmarks/chaos.py --faults {options.faults} --seed {options.seed}"
    document = {"command": command, "commit": commit(), "machine": machine("ray", "torch"), "seconds": round(seconds)}
    write_json(options.out, {**document, "note": options.note, "summary": rows, "searches": searches})
    print_table(rows, f"{rows[-1]['faults']} faults on {machine('ray')['cpu']}")
    failures = ("lost", "doubled", "decided otherwise", "other scores", "configs given up")
    complete = rows[-1]["winner kept"] == len(searches) and rows[-1]["survived"] == rows[-1]["faults"]
    return int(any(rows[-1][key] for key in failures) or not complete)


if __name__ == "__main__":
    run_program(main)
