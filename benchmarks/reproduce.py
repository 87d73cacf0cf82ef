"""Reproduce the best known configuration: train five folds, score them, build their ensemble, predict the test images.

    python benchmarks/reproduce.py DATA --name reproduce_h200
    python benchmarks/reproduce.py DATA --name reproduce_cpu2_resnet18_160x128 --packed 5 --set size=160x128 ...

The project's defaults are that configuration: EfficientNet-B2 from scratch, IoU loss, low augmentation, batch 8, pc 3,
480x352, 12,000 steps. Ray is not needed. --packed folds train at once. The command can be interrupted at any time, or
limited by --minutes; run again, it resumes, and the seconds of all sessions are added up. Results:
benchmarks/results/NAME.json, NAME_masks.zip and NAME_masks_flips.zip.
"""

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import commit, cpu_name
from trainable.config import Config, make_config, parse_assignments
from trainable.errors import UserError
from trainable.exit_codes import INTERRUPTED, run
from trainable.machine.hardware import accelerators
from trainable.objectives.metrics import METRICS
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
REFERENCE_SCORES = {"CV mIoU, mean over folds": 0.8758, "test1, pooled mIoU": 0.8569}  # of the first seed, at full size
TTA: dict[str, tuple[Literal["none", "flips"], ...]] = {
    "none": ("none",),
    "flips": ("flips",),
    "both": ("none", "flips"),
}
POLL_SECONDS = 1.0
MOST_WORKERS = 8
STOP_SECONDS = 60.0  # for a fold to write its checkpoint when it is told to stop


class Sessions:
    """The duration and the device of each session of this command, saved in the folder of the folds."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.document: dict[str, Any] = (
            json.loads(path.read_text()) if path.exists() else {"settings": settings, "runs": []}
        )
        if self.document["settings"] != settings:
            raise UserError(f"{path.parent}: was started with other settings ({path.name}); choose another --out")
        self.start = time.monotonic()
        self.runs = [*self.document["runs"]]

    def write(self, packed: int) -> None:
        """Save the duration of this session so far; called at every poll, so an interruption loses one second."""
        run = {"device": device_name(), "commit": commit(), "packed": packed, "seconds": time.monotonic() - self.start}
        self.document["runs"] = [*self.runs, run]
        write_json(self.path, self.document)


def device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()


def train(options: argparse.Namespace, config: Config, sessions: Sessions) -> bool:
    """Train the unfinished folds; returns False if the time is up or the user asks to stop."""
    stop_signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop_signals.append(number))
    deadline = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    waiting = [fold for fold in range(options.folds) if not (folder(options, fold) / "scores.json").exists()]
    running: dict[int, subprocess.Popen[bytes]] = {}
    with progress_bar(f"training {options.folds} folds") as progress:
        while waiting or running:
            for fold in [fold for fold, child in running.items() if child.poll() is not None]:
                if code := running.pop(fold).returncode:
                    stop(running)
                    raise UserError(f"fold {fold} ended with {code}: see {folder(options, fold) / 'fit.log'}")
            if stop_signals or time.monotonic() >= deadline:
                stop(running)
                sessions.write(options.packed)
                return False
            while waiting and len(running) < options.packed:
                fold = waiting.pop(0)
                running[fold] = start_fold(options, fold)
            progress(sum(last_step(options, fold) for fold in range(options.folds)), options.folds * config.steps)
            sessions.write(options.packed)
            time.sleep(POLL_SECONDS)
    return True


def start_fold(options: argparse.Namespace, fold: int) -> subprocess.Popen[bytes]:
    """Start a process for a fold; the cores are divided so that threads of different folds do not compete."""
    command = [sys.executable, "-m", "trainable", "fit", str(options.data), "--fold", str(fold)]
    command += ["--folds", str(options.folds), "--out", str(folder(options, fold)), "--device", options.device]
    command += [word for each in options.set for word in ("--set", each)]
    command += ["--workers", str(options.workers)] if options.workers is not None else []
    threads = str(max(1, len(os.sched_getaffinity(0)) // options.packed))
    cards = accelerators() if options.device == "auto" and "CUDA_VISIBLE_DEVICES" not in os.environ else []
    card = {"CUDA_VISIBLE_DEVICES": str(fold % len(cards))} if len(cards) > 1 else {}  # folds are spread over the GPUs
    path = folder(options, fold)
    path.mkdir(parents=True, exist_ok=True)
    paths = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
    with (path / "fit.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, **card, "PYTHONPATH": paths, "OMP_NUM_THREADS": threads},
            start_new_session=True,  # Ctrl-C reaches only this process, which stops the folds
        )


def stop(running: dict[int, subprocess.Popen[bytes]]) -> None:
    """Stop all folds after they have written their checkpoints."""
    for child in running.values():
        child.send_signal(signal.SIGTERM)
    for child in running.values():
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()


def folder(options: argparse.Namespace, fold: int) -> Path:
    return Path(options.out) / f"fold_{fold}"


def last_step(options: argparse.Namespace, fold: int) -> int:
    path = folder(options, fold) / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def cross_validation(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Mean and sd over the folds of each metric at original image size, for the best and the last weights."""
    scores = [json.loads((folder(options, fold) / "scores.json").read_text()) for fold in range(options.folds)]
    rows = []
    for weights in ("best", "last"):
        for metric in METRICS:
            folds = [each[weights]["original"][metric] for each in scores]
            sd = statistics.stdev(folds)
            rows.append(
                {"weights": weights, "metric": metric, "mean": statistics.fmean(folds), "sd": sd, "folds": folds}
            )
    return rows


def predict_masks(options: argparse.Namespace, config: Config) -> dict[Literal["none", "flips"], Path]:
    """Average the fold models and predict a mask for every test image, with and without flips as ``--tta`` says."""
    from analysis.ensembles.ensemble import FILE, Ensemble, read_member, save_ensemble
    from analysis.ensembles.predict import Request, predict

    target = Path(options.out) / "ensemble"
    if not (target / FILE).exists():
        members = [read_member(config.id, fold, folder(options, fold)) for fold in range(options.folds)]
        save_ensemble(Ensemble(members, config.tau, "none"), target / FILE)
    images = (options.data / options.test,)
    folders = {flips: Path(options.out) / f"masks_{flips}" for flips in TTA[options.tta]}
    for flips, masks in folders.items():
        request = Request(target, images, None, masks, False, False, flips, config.batch_size, options.device)
        with progress_bar("predicting" if flips == "none" else "predicting with flips") as progress:
            outcome = predict(request, progress)
        if outcome.problems:
            raise UserError(f"{outcome.problems[0]}; {len(outcome.problems)} test images could not be predicted")
    return folders


def pack(masks: Path, archive: Path) -> int:
    """Write the masks, grey images of class numbers, to a zip file that depends on nothing but them."""
    files = sorted(masks.glob("*.png"))
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        for file in files:
            grey = BytesIO()  # without the palette, which some programs would read as brightness
            Image.fromarray(np.asarray(Image.open(file))).save(grey, "PNG", optimize=True)
            opened.writestr(zipfile.ZipInfo(file.name), grey.getvalue(), zipfile.ZIP_DEFLATED)
    return len(files)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set with train/ and a split without truth")
    parser.add_argument("--name", required=True, help="name of the result files")
    parser.add_argument("--out", type=Path, help="folder for the folds (default: runs/NAME)")
    parser.add_argument("--results", type=Path, default=HOME / "benchmarks/results")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a hyperparameter")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--packed", type=int, help="folds at once (default: all on a GPU, one on a CPU)")
    parser.add_argument("--minutes", type=float, help="stop gracefully after this time")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--workers", type=int, help="data-loading processes per fold (default on a GPU: its share of the cores)"
    )
    parser.add_argument("--test", default="test1", help="the split to predict")
    parser.add_argument("--tta", choices=TTA, default="both", help="average over flips when predicting (default both)")
    options = parser.parse_args()
    options.out = options.out or Path("runs") / options.name
    if options.folds < 2:
        raise UserError("--folds: must be 2 or more")
    gpu = options.device != "cpu" and device_name() != cpu_name()
    if options.packed is None:
        options.packed = options.folds if gpu else 1
    if options.packed < 1:
        raise UserError("--packed: must be 1 or more")
    if options.workers is None and gpu:
        options.workers = max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // options.packed))
    if not (options.data / options.test).is_dir():
        raise UserError(f"{options.data / options.test}: no such split to predict")
    return options


def main() -> int:
    options = parse_options()
    config = make_config(parse_assignments(options.set))
    settings = {"config": config.model_dump(mode="json"), "folds": options.folds}
    sessions = Sessions(options.out / "slices.json", settings)
    if not train(options, config, sessions):
        say("Stopped; nothing is lost. To resume:")
        say(f"  python {shlex.join(sys.argv)}")
        return INTERRUPTED
    rows = cross_validation(options)
    archives = {}
    for flips, masks in predict_masks(options, config).items():
        archive = options.results / f"{options.name}_masks{'' if flips == 'none' else '_flips'}.zip"
        archives[archive.name] = {"tta": flips, "count": pack(masks, archive)}
    sessions.write(options.packed)
    minutes = sum(run["seconds"] for run in sessions.document["runs"]) / 60
    document = {
        "command": f"python {shlex.join(sys.argv)}",
        "minutes": round(minutes, 1),
        **sessions.document,
        "cross_validation": rows,
        "masks": archives,
        "first_seed": REFERENCE_SCORES,
    }
    write_json(options.results / f"{options.name}.json", document)
    print_table([{key: row[key] for key in ("weights", "metric", "mean", "sd")} for row in rows])
    say(f"{minutes:.1f} minutes of {device_name()}; masks in {', '.join(archives)}")
    return 0


if __name__ == "__main__":
    run(main)
