"""The known best configuration from end to end: five folds, their scores, their ensemble, masks of the test images.

    python benchmarks/reproduce.py DATA --name reproduce_h200
    python benchmarks/reproduce.py DATA --name reproduce_cpu2_resnet18_160x128 --packed 5 --set size=160x128 ...

The defaults of the project are that configuration, so without --set it runs as it is: EfficientNet-B2 from scratch, IoU
loss, low augmentation, batch 8, pc 3, 480x352, 12,000 steps. It needs no Ray. The folds run side by side, --packed of
them at once. It may be cut anywhere, or into slices by --minutes: the same command goes on where it stopped, with the
seconds of all slices added up. Results: benchmarks/results/NAME.json and NAME_masks.zip.
"""

from __future__ import annotations

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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import commit, cpu_name
from trainable.config import Config, make_config, parse_assignments
from trainable.errors import UserError
from trainable.exit_codes import INTERRUPTED, WRONG
from trainable.machine.hardware import accelerators
from trainable.objectives.metrics import METRICS
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
ANCHORS = {"CV mIoU, mean over folds": 0.8758, "test1, pooled mIoU": 0.8569}  # of the first seed, at full size
LOOK = 1.0  # seconds between two looks at the folds
MOST_WORKERS = 8
SETTLE = 60.0  # seconds that a fold has to write its checkpoint when it is asked to stop


class Slices:
    """How long each run of this command took and on what, kept beside the folds."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.told: dict[str, Any] = (
            json.loads(path.read_text()) if path.exists() else {"settings": settings, "runs": []}
        )
        if self.told["settings"] != settings:
            raise UserError(f"{path.parent}: was begun with other settings ({path.name}); choose another --out")
        self.began = time.monotonic()
        self.runs = [*self.told["runs"]]

    def write(self, packed: int) -> None:
        """What this run has taken until now; written at every look, so that a cut loses a second of it."""
        run = {"device": device_name(), "commit": commit(), "packed": packed, "seconds": time.monotonic() - self.began}
        self.told["runs"] = [*self.runs, run]
        write_json(self.path, self.told)


def device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()


def train(asked: argparse.Namespace, config: Config, slices: Slices) -> bool:
    """Train the folds that are not done, some at once; False where time ran out or somebody asked to stop."""
    asked_to_stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked_to_stop.append(number))
    until = time.monotonic() + 60 * asked.minutes if asked.minutes else float("inf")
    waiting = [fold for fold in range(asked.folds) if not (folder(asked, fold) / "scores.json").exists()]
    running: dict[int, subprocess.Popen[bytes]] = {}
    with progress_bar(f"training {asked.folds} folds") as progress:
        while waiting or running:
            for fold in [fold for fold, child in running.items() if child.poll() is not None]:
                if code := running.pop(fold).returncode:
                    stop(running)
                    raise UserError(f"fold {fold} ended with {code}: {folder(asked, fold) / 'fit.log'} says why")
            if asked_to_stop or time.monotonic() >= until:
                stop(running)
                slices.write(asked.packed)
                return False
            while waiting and len(running) < asked.packed:
                fold = waiting.pop(0)
                running[fold] = begin(asked, fold)
            progress(sum(reached(asked, fold) for fold in range(asked.folds)), asked.folds * config.steps)
            slices.write(asked.packed)
            time.sleep(LOOK)
    return True


def begin(asked: argparse.Namespace, fold: int) -> subprocess.Popen[bytes]:
    """A process for a fold; the cores are shared out, so that threads of one do not wait for another's."""
    command = [sys.executable, "-m", "trainable", "fit", str(asked.data), "--fold", str(fold)]
    command += ["--folds", str(asked.folds), "--out", str(folder(asked, fold)), "--device", asked.device]
    command += [word for each in asked.set for word in ("--set", each)]
    command += ["--workers", str(asked.workers)] if asked.workers is not None else []
    threads = str(max(1, len(os.sched_getaffinity(0)) // asked.packed))
    cards = accelerators() if asked.device == "auto" and "CUDA_VISIBLE_DEVICES" not in os.environ else []
    card = {"CUDA_VISIBLE_DEVICES": str(fold % len(cards))} if len(cards) > 1 else {}  # each fold on one of them
    place = folder(asked, fold)
    place.mkdir(parents=True, exist_ok=True)
    paths = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
    with (place / "fit.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, **card, "PYTHONPATH": paths, "OMP_NUM_THREADS": threads},
            start_new_session=True,  # Ctrl-C is for this process, which asks its folds to stop
        )


def stop(running: dict[int, subprocess.Popen[bytes]]) -> None:
    """Ask all folds to write their checkpoints and end."""
    for child in running.values():
        child.send_signal(signal.SIGTERM)
    for child in running.values():
        try:
            child.wait(SETTLE)
        except subprocess.TimeoutExpired:
            child.kill()


def folder(asked: argparse.Namespace, fold: int) -> Path:
    return Path(asked.out) / f"fold_{fold}"


def reached(asked: argparse.Namespace, fold: int) -> int:
    path = folder(asked, fold) / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def cross_validation(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Each metric at the images' own size, of the best and of the last weights: mean and sd over the folds."""
    told = [json.loads((folder(asked, fold) / "scores.json").read_text()) for fold in range(asked.folds)]
    rows = []
    for weights in ("best", "last"):
        for metric in METRICS:
            folds = [each[weights]["original"][metric] for each in told]
            sd = statistics.stdev(folds)
            rows.append(
                {"weights": weights, "metric": metric, "mean": statistics.fmean(folds), "sd": sd, "folds": folds}
            )
    return rows


def ensemble(asked: argparse.Namespace, config: Config) -> Path:
    """The fold models averaged into one, and a mask of every test image; both are made once."""
    from analysis.ensembles.ensemble import FILE, Ensemble, read_member, save_ensemble
    from analysis.ensembles.predict import Request, predict

    made = Path(asked.out) / "ensemble"
    if not (made / FILE).exists():
        members = [read_member(config.id, fold, folder(asked, fold)) for fold in range(asked.folds)]
        save_ensemble(Ensemble(members, config.tau, asked.tta), made / FILE)
    masks = Path(asked.out) / "masks"
    images = (asked.data / asked.test,)
    request = Request(made, images, None, masks, False, False, None, config.batch_size, asked.device)
    with progress_bar("predicting") as progress:
        done = predict(request, progress)
    if done.problems:
        raise UserError(f"{done.problems[0]}; {len(done.problems)} test images could not be predicted")
    return masks


def pack(masks: Path, archive: Path) -> int:
    """The masks in one file; the same masks give the same bytes."""
    files = sorted(masks.glob("*.png"))
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        for file in files:
            opened.writestr(zipfile.ZipInfo(file.name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return len(files)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set with train/ and a split without truth")
    parser.add_argument("--name", required=True, help="of the result files")
    parser.add_argument("--out", type=Path, help="folder of the folds (default: runs/NAME)")
    parser.add_argument("--results", type=Path, default=HOME / "benchmarks/results")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another hyperparameter")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--packed", type=int, help="folds at once (default: all on a GPU, one on a CPU)")
    parser.add_argument("--minutes", type=float, help="stop gracefully after this long")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--workers", type=int, help="processes that augment, for each fold (default on a GPU: its share of the cores)"
    )
    parser.add_argument("--test", default="test1", help="the split to predict")
    parser.add_argument("--tta", choices=("none", "flips"), default="none", help="average over flips when predicting")
    asked = parser.parse_args()
    asked.out = asked.out or Path("runs") / asked.name
    if asked.folds < 2:
        raise UserError("--folds: must be 2 or more")
    gpu = asked.device != "cpu" and device_name() != cpu_name()
    if asked.packed is None:
        asked.packed = asked.folds if gpu else 1
    if asked.packed < 1:
        raise UserError("--packed: must be 1 or more")
    if asked.workers is None and gpu:
        asked.workers = max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // asked.packed))
    if not (asked.data / asked.test).is_dir():
        raise UserError(f"{asked.data / asked.test}: no such split to predict")
    return asked


def main() -> int:
    asked = parsed()
    config = make_config(parse_assignments(asked.set))
    settings = {"config": config.model_dump(mode="json"), "folds": asked.folds}
    slices = Slices(asked.out / "slices.json", settings)
    if not train(asked, config, slices):
        say("Stopped; nothing is lost. To go on:")
        say(f"  python {shlex.join(sys.argv)}")
        return INTERRUPTED
    rows = cross_validation(asked)
    masks = pack(ensemble(asked, config), archive := asked.results / f"{asked.name}_masks.zip")
    slices.write(asked.packed)
    minutes = sum(run["seconds"] for run in slices.told["runs"]) / 60
    document = {
        "command": f"python {shlex.join(sys.argv)}",
        "minutes": round(minutes, 1),
        **slices.told,
        "cross_validation": rows,
        "masks": {"file": archive.name, "count": masks, "tta": asked.tta},
        "first_seed": ANCHORS,
    }
    write_json(asked.results / f"{asked.name}.json", document)
    print_table([{key: row[key] for key in ("weights", "metric", "mean", "sd")} for row in rows])
    say(f"{minutes:.1f} minutes of {device_name()}; {masks} masks in {archive}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        say(f"error: {error}")
        sys.exit(WRONG)
