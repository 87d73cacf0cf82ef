"""Images per second of the fold loop, alone and packed, against a naive loop, and the least that a step could take.

    python benchmarks/step_time.py [DATA] [--packed 1,2] [--also compiled] [--steps 20] [--rounds 3] [--set KEY=VALUE]

Each round measures one loop after the other, each in fresh processes, so that a machine whose speed drifts is unfair to
none; ratios are taken per round and their median quoted. ``--packed`` lists how many fold loops train at once and share
the device and the cores; the naive loop trains alone. ``--also`` measures beside it what the fold loop could be:
``compiled``, its network fused by torch.compile, and on a GPU ``graph``, a whole update as one CUDA graph; ``first_s``
is how long its first step took, which a fold trial has to earn back. Two floors stand beside them: the bytes that the
operations of a step read and write over the measured bandwidth, and its arithmetic over the measured rate. Without
DATA, a synthetic set is made.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import commit
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

RESULTS = Path(__file__).parent / "results"
HERE = Path(__file__).parent
FULL_SIZE = ["size=480x352"]
MEANS = ("step_ms", "waiting_share", "resident_mb", "first_s")
MOST_WORKERS = 8


def numbers(text: str) -> list[int]:
    found = [int(word) for word in text.split(",")]
    if min(found) < 1:
        raise ValueError(text)
    return found


def loops(text: str) -> list[str]:
    found = text.split(",")
    if not set(found) <= {"compiled", "graph"}:
        raise ValueError(text)
    return found


def one_round(asked: argparse.Namespace, data: Path, cache: Path) -> dict[str, dict[str, Any]]:
    """What the naive loop and each packing gave, by its name."""
    told = {"naive": together(asked, "naive", 1, data, cache)}
    for loop in ("fold", *asked.also):
        for many in asked.packed:
            told[f"{loop} x {many}"] = together(asked, loop, many, data, cache)
    return told


def together(asked: argparse.Namespace, loop: str, many: int, data: Path, cache: Path) -> dict[str, Any]:
    """So many loops at once: all are warm before one is measured, none ends before all are."""
    cores = max(1, len(os.sched_getaffinity(0)) // many)
    workers = asked.workers if asked.workers is not None else min(MOST_WORKERS, cores - 1) if has_gpu() else 0
    options = {"--cache": cache, "--steps": asked.steps, "--warmup": asked.warmup, "--workers": workers}
    command = [sys.executable, str(HERE / "loops.py"), loop, str(data)]
    command += [word for option, value in options.items() for word in (option, str(value))]
    command += [word for value in [*FULL_SIZE, *asked.set] for word in ("--set", value)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
    running = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(many)
    ]
    try:
        for process in running:
            _hear(process)
        for process in running:
            _go_on(process)
        found = [json.loads(_hear(process)) for process in running]
        for process in running:
            _go_on(process)
        for process in running:
            process.wait(600)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    mean = {key: statistics.mean(one[key] for one in found) for key in MEANS}
    most = {key: max(one[key] or 0 for one in found) or None for key in ("peak_mb", "gpu_peak_mb")}
    same = {key: found[0][key] for key in ("device", "threads", "workers", "torch")}
    say(f"{loop} x {many}: {sum(one['images_per_second'] for one in found):.2f} images/s")
    return {"images_per_second": sum(one["images_per_second"] for one in found), **mean, **most, **same}


def _hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"error: a loop ended by itself with {process.wait()}")
    return line


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def summary(rounds: list[dict[str, dict[str, Any]]], floor: dict[str, float]) -> list[dict[str, Any]]:
    """A row per loop: medians over the rounds, and the median of the rounds' own ratios."""
    rows = []
    for name in rounds[0]:
        middle = {key: statistics.median(one[name][key] for one in rounds) for key in ("images_per_second", *MEANS)}
        ratios = [one[name]["images_per_second"] / one["naive"]["images_per_second"] for one in rounds]
        rows.append(
            {
                "loop": name,
                **middle,
                "times_naive": statistics.median(ratios),
                "times_floor": 1000 / (middle["images_per_second"] * floor["image_ms"]),
                "gpu_peak_mb": rounds[0][name]["gpu_peak_mb"],
                "threads": rounds[0][name]["threads"],
                "workers": rounds[0][name]["workers"],
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--packed", type=numbers, default=[1], metavar="N,...", help="fold loops at once (default 1)")
    parser.add_argument("--also", type=loops, default=[], metavar="LOOP,...", help="compiled, graph")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, help="processes that feed each loop")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another hyperparameter")
    parser.add_argument("--name", default="step_time", help="of the result file")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = asked.data or Path(scratch) / "data"
        if asked.data is None:
            from trainable.data.synthesize import synthesize

            synthesize(data, 40, 0, 500, 375, 0)
        rounds = [one_round(asked, data, Path(scratch) / "cache") for _ in range(asked.rounds)]
        words = [word for value in [*FULL_SIZE, *asked.set] for word in ("--set", value)]
        measured = [sys.executable, str(HERE / "floor.py"), str(data), "--cache", str(Path(scratch) / "cache"), *words]
        floor = json.loads(subprocess.run(measured, stdout=subprocess.PIPE, text=True, check=True).stdout)
    rows = summary(rounds, floor)
    first = rounds[0]["naive"]
    document = {
        "command": " ".join(["python", "benchmarks/step_time.py", *sys.argv[1:]]),
        "commit": commit(),
        "machine": {key: first[key] for key in ("device", "torch")} | {"python": platform.python_version()},
        "loops": rows,
        "floor": floor,
        "rounds": rounds,
    }
    write_json(asked.results / f"{asked.name}.json", document)
    print_table(rows, f"input pipeline included, on {first['device']}")
    bytes_of_a_step = (
        f"moves {floor['gigabytes']:.1f} GB, {floor['bytes_ms']:.1f} ms at {floor['gb_per_second']:.0f} GB/s"
    )
    work_of_a_step = (
        f"calculates {floor['gflop']:.0f} GFLOP, {floor['flop_ms']:.1f} ms at {floor['tflops']:.2f} TFLOP/s"
    )
    print(f"a step {bytes_of_a_step}, and {work_of_a_step}, as measured here")


if __name__ == "__main__":
    main()
