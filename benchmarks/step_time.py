"""Images per second of the fold loop, alone and packed, against a naive loop and lower bounds of a step.

    python benchmarks/step_time.py [DATA] [--packed 1,2] [--also compile] [--steps 20] [--rounds 3] [--set KEY=VALUE]

Each round measures all loops in turn, each in new processes, so that a drift of the machine's speed affects all.
Ratios are computed in each round; the median is reported. ``--packed`` lists how many fold loops train at once, sharing
the device and the cores; the naive loop trains alone. ``--also`` adds variants of the fold loop: ``compile`` fuses the
network with torch.compile, and ``graph`` runs each update as one CUDA graph (GPU only). ``first_s`` is the time of the
first step, which a fold trial must make up for. The lower bounds are the bytes that the operations of a step read and
write over the measured bandwidth, and its arithmetic over the measured rate. Without DATA, a synthetic set is used.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import command_line, commit
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
    if not set(found) <= {"compile", "graph"}:
        raise ValueError(text)
    return found


def one_round(options: argparse.Namespace, data: Path, cache: Path) -> dict[str, dict[str, Any]]:
    """The results of the naive loop and of each packing, by name."""
    plan = [("naive", 1), *((loop, count) for loop in ("fold", *options.also) for count in options.packed)]
    results = {}
    for loop, count in plan:
        name = "naive" if loop == "naive" else f"{loop} x {count}"
        results[name] = run_loops(
            loop, count, data, cache, [*FULL_SIZE, *options.set], options.steps, options.warmup, options.workers
        )
    return results


def run_loops(
    loop: str,
    count: int,
    data: Path,
    cache: Path,
    settings: Sequence[str],
    steps: int,
    warmup: int,
    workers: int | None = None,
) -> dict[str, Any]:
    """Run this many loops at once: measure after all have warmed up, and stop after all have been measured."""
    cores = max(1, len(os.sched_getaffinity(0)) // count)
    if workers is None:
        workers = min(MOST_WORKERS, cores - 1) if has_gpu() else 0
    arguments = {"--cache": cache, "--steps": steps, "--warmup": warmup, "--workers": workers}
    command = [sys.executable, str(HERE / "training_loops.py"), loop, str(data)]
    command += [word for name, value in arguments.items() for word in (name, str(value))]
    command += [word for value in settings for word in ("--set", value)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
    running = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        for process in running:
            _read_line(process)
        for process in running:
            _send_line(process)
        results = [json.loads(_read_line(process)) for process in running]
        for process in running:
            _send_line(process)
        for process in running:
            process.wait(600)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    mean = {key: statistics.mean(each[key] for each in results) for key in MEANS}
    most = {key: max(each[key] or 0 for each in results) or None for key in ("peak_mb", "gpu_peak_mb")}
    same = {key: results[0][key] for key in ("device", "threads", "workers", "torch")}
    say(f"{loop} x {count}: {sum(each['images_per_second'] for each in results):.2f} images/s")
    return {"images_per_second": sum(each["images_per_second"] for each in results), **mean, **most, **same}


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"error: a loop exited early with code {process.wait()}")
    return line


def _send_line(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def summary(rounds: list[dict[str, dict[str, Any]]], floor: dict[str, float]) -> list[dict[str, Any]]:
    """A row per loop: medians over the rounds, and the median of the ratios within each round."""
    rows = []
    for name in rounds[0]:
        medians = {key: statistics.median(each[name][key] for each in rounds) for key in ("images_per_second", *MEANS)}
        ratios = [each[name]["images_per_second"] / each["naive"]["images_per_second"] for each in rounds]
        rows.append(
            {
                "loop": name,
                **medians,
                "times_naive": statistics.median(ratios),
                "times_floor": 1000 / (medians["images_per_second"] * floor["image_ms"]),
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
    parser.add_argument(
        "--also", type=loops, default=[], metavar="LOOP,...", help="variants to measure: compile, graph"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, help="data-loading processes per loop")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a hyperparameter")
    parser.add_argument("--name", default="step_time", help="name of the result file")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or Path(scratch) / "data"
        if options.data is None:
            from trainable.data.synthetic.synthesize import synthesize

            synthesize(data, 40, 0, 500, 375, 0)
        rounds = [one_round(options, data, Path(scratch) / "cache") for _ in range(options.rounds)]
        assignments = [word for value in [*FULL_SIZE, *options.set] for word in ("--set", value)]
        command = [sys.executable, str(HERE / "roofline.py"), str(data), "--cache", str(Path(scratch) / "cache")]
        command += assignments
        floor = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    rows = summary(rounds, floor)
    first = rounds[0]["naive"]
    document = {
        "command": command_line(),
        "commit": commit(),
        "machine": {key: first[key] for key in ("device", "torch")} | {"python": platform.python_version()},
        "loops": rows,
        "floor": floor,
        "rounds": rounds,
    }
    write_json(options.results / f"{options.name}.json", document)
    print_table(rows, f"input pipeline included, on {first['device']}")
    traffic = f"moves {floor['gigabytes']:.1f} GB, {floor['bytes_ms']:.1f} ms at {floor['gb_per_second']:.0f} GB/s"
    arithmetic = f"computes {floor['gflop']:.0f} GFLOP, {floor['flop_ms']:.1f} ms at {floor['tflops']:.2f} TFLOP/s"
    print(f"lower bounds measured on this machine: a step {traffic}, and {arithmetic}")


if __name__ == "__main__":
    main()
