"""Everything that a GPU has to answer, in one run of minutes: facts, correctness, speed, the known best configuration.

    python benchmarks/gpu.py DATA --minutes 9
    python benchmarks/gpu.py DATA --minutes 4 --resume
    python benchmarks/gpu.py DATA --device cpu --tiny     # a rehearsal, without a GPU

The stages run in this order, and each result is written before the next one begins, so an interrupted run keeps
what it has measured, and --resume continues from there. Results: benchmarks/results/gpu_CARD.json, and from the last
stage gpu_CARD_folds.json with the scores of each fold and gpu_CARD_folds_masks*.zip with the masks of the test images.
The exit code is 1 if a check of correctness failed.

facts      the card, its bandwidth and its bf16 matrix rate
correct    what a GPU does differently from a CPU, each difference within a bound (benchmarks/gpu_checks.py)
speed      ms per step of the naive loop, the fold loop and its accelerations; several on one card; ratios to the floor
reproduce  two to five folds of the known best configuration with the fastest loop, their ensemble, masks
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.gpu_bundle import NOTE as DATA_NOTE
from benchmarks.gpu_checks import Bench, checks_on, run_checks
from benchmarks.machine import command_line, commit, cpu_name, driver
from benchmarks.roofline import SECONDS, rate
from benchmarks.step_time import run_loops
from trainable.errors import UserError
from trainable.exit_codes import INTERRUPTED
from trainable.exit_codes import run as run_program
from trainable.machine.device import pick_device, release_memory
from trainable.machine.hardware import cores
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HERE = Path(__file__).parent
STAGES = ("facts", "correct", "speed", "reproduce")
LIMITS = {"facts": 20.0, "correct": 120.0, "speed": 180.0}  # seconds; reproduce gets the rest
SIZE, BATCH = "480x352", 8
LOOPS = ("naive", "fold", "graph", "compile")
TINY_LOOPS = ("naive", "graph")  # compiling takes a minute
PACKED = (2, 4, 6)
FOLDS = 5
FEWEST_STEPS, MOST_STEPS, EVALUATIONS = 6_000, 16_000, 40
EVALUATION_SHARE = 0.15  # of the time of a fold, for its evaluations, checkpoints and results
ENDING = 45.0  # seconds kept for the ensemble and the masks
TINY_SECONDS = 0.2
FAILED = 1  # the exit code
TINY = {"size": "64x64", "encoder": "test_resnet", "attention": "none", "batch_size": "4"}


@dataclass
class Run:
    """One run of the program: its options, its result file and how much time is left."""

    options: argparse.Namespace
    device: torch.device
    card: str
    path: Path
    began: float = field(default_factory=time.monotonic)
    stages: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds."""
        return 60 * self.options.minutes - (time.monotonic() - self.began)

    def until(self, stage: str) -> Callable[[], float]:
        """How many seconds a stage that begins now has left, at any time."""
        end = time.monotonic() + min(LIMITS.get(stage, float("inf")), self.left)
        return lambda: end - time.monotonic()

    def write(self, stage: str, result: dict[str, Any]) -> None:
        self.stages[stage] = result
        this = {"command": command_line(), "commit": commit(), "seconds": round(time.monotonic() - self.began, 1)}
        document = {"card": self.card, "data": self.data_note, "runs": [*self.runs, this], "stages": self.stages}
        write_json(self.path, document)

    @property
    def data_note(self) -> Any:
        """What was done to the data before they came here."""
        note = self.options.data / DATA_NOTE
        return json.loads(note.read_text()) if note.exists() else "as they are"

    def recall(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            document = json.loads(self.path.read_text())
            self.stages, self.runs = document["stages"], document["runs"]

    def finished(self, stage: str) -> bool:
        return bool(self.stages.get(stage, {}).get("finished"))


def facts(run: Run, time_left: Callable[[], float]) -> bool:
    """The card and what it can do at most."""
    cuda = run.device.type == "cuda"
    size = 2**30 if cuda else 2**26
    seconds = TINY_SECONDS if run.options.tiny else SECONDS
    source = torch.ones(size, dtype=torch.uint8, device=run.device)
    target = torch.empty_like(source)
    side = 8192 if cuda else 512
    matrix = torch.ones(side, side, dtype=torch.bfloat16, device=run.device)
    found: dict[str, Any] = {
        "device": run.card,
        "driver": driver() if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "memory_gb": torch.cuda.mem_get_info()[1] / 1e9 if cuda else None,
        "host": cpu_name(),
        "cores": cores(),
        "copy_gb_per_second": rate(lambda: target.copy_(source), 2 * size, seconds) / 1e9,
        "bf16_tflops": rate(lambda: matrix @ matrix, 2 * side**3, seconds) / 1e12,
    }
    run.write("facts", found | {"finished": True})
    say(f"{run.card}: copies {found['copy_gb_per_second']:.0f} GB/s, bf16 {found['bf16_tflops']:.1f} TFLOP/s")
    return True


def correct(run: Run, time_left: Callable[[], float]) -> bool:
    known = run.stages.get("correct", {}).get("checks", {})
    with tempfile.TemporaryDirectory(prefix="gpu-checks-") as scratch:
        bench = Bench(run.device, Path(scratch), run.options.tiny)
        for results in run_checks(bench, known, time_left):
            failed = [name for name, result in results.items() if result["passed"] is False]
            run.write("correct", {"checks": results, "failed": failed, "finished": False})
    stage = run.stages.get("correct", {"checks": {}, "failed": []})
    run.write("correct", stage | {"finished": stage["checks"].keys() == checks_on(run.device).keys()})
    return run.finished("correct")


def speed(run: Run, time_left: Callable[[], float]) -> bool:
    """Each loop alone, then the fastest several times on the card; a row is written as soon as it is measured."""
    found = run.stages.get("speed", {})
    rows: dict[str, Any] = found.get("loops", {})
    floor: dict[str, float] = found.get("floor", {})
    settings = [f"{key}={value}" for key, value in settings_of(run).items()]
    tiny = run.options.tiny
    steps, warmup = (2, 1) if tiny else (120, 8)
    with tempfile.TemporaryDirectory(prefix="gpu-speed-") as scratch:
        cache = run.options.cache or Path(scratch)

        def measure(loop: str, many: int) -> None:
            name = f"{loop} x {many}"
            if name in rows or time_left() <= 0:
                return
            workers = 0 if run.device.type == "cpu" else max(1, min(8, cores() // many - 1))
            try:
                rows[name] = run_loops(loop, many, run.options.data, cache, settings, steps, warmup, workers)
            except SystemExit as failure:
                rows[name] = {"failed": str(failure)}
            write()

        def write(finished: bool = False) -> None:
            run.write("speed", {"loops": with_ratios(rows, floor), "floor": floor, "finished": finished})

        for loop in TINY_LOOPS if tiny else LOOPS:
            measure(loop, 1)
        if not floor and time_left() > 0:
            command = [sys.executable, str(HERE / "roofline.py"), str(run.options.data), "--cache", str(cache)]
            command += ["--seconds", str(TINY_SECONDS if tiny else SECONDS)]
            command += [word for value in settings for word in ("--set", value)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment(run))
            floor.update(json.loads(done.stdout))
            write()
        packed = (2,) if tiny else PACKED
        for many in packed:
            measure(fastest(rows)[0], many)
        write(finished=bool(floor) and all(any(name.endswith(f" x {many}") for name in rows) for many in packed))
    columns = ("images_per_second", "step_ms", "waiting_share", "first_s", "gpu_peak_mb", "times_naive", "times_floor")
    measured = {name: row for name, row in run.stages["speed"]["loops"].items() if "failed" not in row}
    print_table([{"loop": name, **{key: row.get(key) for key in columns}} for name, row in measured.items()])
    return run.finished("speed")


def with_ratios(rows: dict[str, Any], floor: dict[str, float]) -> dict[str, Any]:
    """Images per second over those of the naive loop; time of an image over the least that its bytes need."""
    naive = rows.get("naive x 1", {}).get("images_per_second")
    found = {}
    for name, row in rows.items():
        images = row.get("images_per_second")
        row = dict(row)
        if images and naive:
            row["times_naive"] = images / naive
        if images and floor:
            row["times_floor"] = 1000 / (images * floor["image_ms"])
        found[name] = row
    return found


def fastest(rows: dict[str, Any]) -> tuple[str, int]:
    """The acceleration and the number of fold trials at once that train the most images per second."""
    speeds = {
        name: row["images_per_second"]
        for name, row in rows.items()
        if row.get("images_per_second") and not name.startswith("naive")
    }
    if not speeds:
        return "fold", 1
    loop, many = max(speeds, key=lambda name: speeds[name]).split(" x ")
    return loop, int(many)


def reproduce(run: Run, time_left: Callable[[], float]) -> bool:
    """As many folds and steps as fit; an interrupted run resumes with the same plan."""
    rows = run.stages.get("speed", {}).get("loops", {})
    plan = run.stages.get("reproduce", {}).get("plan") or planned(rows, run.options, time_left())
    run.write("reproduce", {"plan": plan, "finished": False})
    say(f"reproduce: {plan['folds']} folds of {plan['steps']:,} steps, {plan['packed']} at once, {plan['loop']}")
    name = f"{run.path.stem}_folds"
    settings = settings_of(run) | {
        "steps": str(plan["steps"]),
        "evaluations": str(min(EVALUATIONS, plan["steps"])),
        "acceleration": "none" if plan["loop"] == "fold" else plan["loop"],
    }
    command = [sys.executable, str(HERE / "reproduce.py"), str(run.options.data), "--name", name]
    command += ["--results", str(run.path.parent), "--out", str(run.options.out), "--folds", str(plan["folds"])]
    command += ["--packed", str(plan["packed"]), "--device", run.options.device]
    command += ["--minutes", f"{max(0.05, (time_left() - (0 if run.options.tiny else ENDING)) / 60):.3f}"]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    if run.device.type == "cpu":
        command += ["--workers", "0"]
    code = subprocess.run(command, check=False, env=environment(run)).returncode
    run.write("reproduce", {"plan": plan, "result": f"{name}.json", "exit_code": code, "finished": code == 0})
    if code not in (0, INTERRUPTED):
        raise UserError(f"reproduce.py ended with exit code {code}; the folds' logs are in {run.options.out}")
    return code == 0


def planned(rows: dict[str, Any], options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """The horizon that fits into the time of this run and the next one (--later), and how it is trained."""
    loop, _ = fastest(rows)
    packed = {int(name.split(" x ")[1]): row for name, row in rows.items() if name.startswith(f"{loop} x ")}
    usable = {many: row["images_per_second"] for many, row in packed.items() if row.get("images_per_second")}
    many, images = max(usable.items(), key=lambda pair: pair[1], default=(1, 0.0))
    if options.tiny:
        return {"loop": loop, "packed": 2, "folds": 2, "steps": 4, "images_per_second": images}
    available = (seconds + 60 * options.later - ENDING) * (1 - EVALUATION_SHARE)
    total = available * images / BATCH  # steps of all folds together
    steps, folds = int(total / FOLDS // 500 * 500), FOLDS
    if steps < FEWEST_STEPS:
        steps, folds = FEWEST_STEPS, max(2, min(FOLDS, int(total // FEWEST_STEPS)))
    return {
        "loop": loop,
        "packed": min(many, folds),
        "folds": folds,
        "steps": min(steps, MOST_STEPS),
        "images_per_second": images,
    }


def settings_of(run: Run) -> dict[str, str]:
    """The hyperparameters that differ from the defaults, which are the known best configuration."""
    return dict(TINY) if run.options.tiny else {"size": SIZE}


def environment(run: Run) -> dict[str, str]:
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if run.device.type == "cpu" else {}
    return {**os.environ, **hidden}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set with train/ and a split without truth")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this long (default 9)")
    parser.add_argument("--later", type=float, default=0.0, help="minutes that a second run with --resume will have")
    parser.add_argument("--stages", default=",".join(STAGES), metavar="STAGE,...", help="which of them to run")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run has finished")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--tiny", action="store_true", help="rehearse with a tiny network and a few steps")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the result files")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the folds")
    parser.add_argument("--cache", type=Path, help="folder of decoded images and compiled code (default: temporary)")
    options = parser.parse_args()
    options.stages = options.stages.split(",")
    if unknown := [stage for stage in options.stages if stage not in STAGES]:
        raise UserError(f"--stages: unknown stage {unknown[0]!r}; known are {', '.join(STAGES)}")
    if options.minutes <= 0:
        raise UserError("--minutes: must be greater than 0")
    if not (options.data / "train").is_dir():
        raise UserError(f"{options.data}: has no train/ folder; see python -m trainable doctor --help")
    return options


def main() -> int:
    options = parsed()
    device = pick_device(options.device)
    if device.type == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        if not options.tiny:
            raise UserError("a full run needs a GPU, and there is none here; rehearse with --device cpu --tiny")
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    short = re.sub(r"[^a-z0-9]+", "-", (card if device.type == "cuda" else "cpu").lower()).strip("-")
    run = Run(options, device, card, options.results / f"gpu_{short}{'_tiny' if options.tiny else ''}.json")
    if options.resume:
        run.recall()
    for stage, work in zip(STAGES, (facts, correct, speed, reproduce), strict=True):
        if stage not in options.stages or run.finished(stage):
            continue
        if run.left <= 0:
            say(f"no time is left for {stage}; add --resume to the same command to continue")
            break
        say(f"{stage} ({run.left / 60:.1f} of {options.minutes:g} minutes left)")
        if not work(run, run.until(stage)):
            say(f"{stage} is not finished; add --resume to the same command to continue")
        release_memory()  # for the processes of the next stage
    return ended(run)


def ended(run: Run) -> int:
    """Say where the results are and which checks failed; return the exit code."""
    say(f"results: {run.path}")
    if failed := run.stages.get("correct", {}).get("failed"):
        say(f"FAILED checks: {', '.join(failed)}")
        return FAILED
    return 0 if all(run.finished(stage) for stage in run.options.stages) else INTERRUPTED


if __name__ == "__main__":
    run_program(main)
