"""What several classes cost: steps of K classes against steps of two on the same images and the same network.

    python benchmarks/class_steps.py [--classes 4] [--images 48] [--size 128x128] [--steps 30] [--set KEY=VALUE]

Two data sets have the same images; in one all classes but the first are merged. Steps of both are taken in turn in one
process, so that a drift of the machine's speed affects both, and the median of the ratios is reported; a step includes
augmentation, forward, backward and the optimizer. With ``--open`` it also measures how long a data set takes to open
from the cache of decoded images, in new processes.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import command_line, commit, machine
from trainable.config import make_config, parse_assignments
from trainable.data.dataset import SCRIBBLES, TRUTH, UNLABELLED
from trainable.data.decoded_images import open_data
from trainable.data.folds import folds_of
from trainable.data.synthetic.synthesize import synthesize
from trainable.data.task import FILE
from trainable.machine.device import pick_device
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json
from trainable.training.trial import FoldTrial

RESULTS = Path(__file__).parent / "results"
WARMUP = 3
OPEN = """
import sys, time
from pathlib import Path
from trainable.data.decoded_images import open_data
start = time.perf_counter()
data = open_data(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3])), cache=Path(sys.argv[4]))
print(time.perf_counter() - start, len(data.stems))
"""


def merged(source: Path, target: Path) -> Path:
    """The same images with two classes."""
    shutil.copytree(source, target)
    (target / FILE).write_text("classes: [background, foreground]\n")
    for folder, most in ((TRUTH, 255), (SCRIBBLES, UNLABELLED)):
        for path in (target / "train" / folder).glob("*.png"):
            values = np.asarray(Image.open(path))
            two = np.where((values > 0) & (values < most), 1, values).astype(np.uint8)
            Image.fromarray(two).save(path)
    return target


def trial_of(folder: Path, cache: Path, settings: dict[str, Any], device: torch.device) -> FoldTrial:
    config = make_config(settings)
    data = open_data(folder, config.size, cache=cache)
    return FoldTrial(config, data, folds_of(data, 4, 0), 0, device)


def seconds_of_step(trial: FoldTrial, device: torch.device) -> float:
    start = time.perf_counter()
    trial.train_step(*trial.stream[trial.step])
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def compare_steps(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    width, height = (int(part) for part in options.size.split("x"))
    synthesize(scratch / "classes", options.images, 0, width, height, 0, classes=options.classes)
    device = pick_device(options.device)
    settings = {"size": options.size, "steps": 10_000, **parse_assignments(options.set)}
    folders = (merged(scratch / "classes", scratch / "two"), scratch / "classes")
    two, several = (trial_of(folder, scratch / "cache", settings, device) for folder in folders)
    times: list[tuple[float, float]] = []
    with progress_bar("steps") as progress:
        for step in range(WARMUP + options.steps):
            times.append((seconds_of_step(two, device), seconds_of_step(several, device)))
            progress(step + 1, WARMUP + options.steps)
    kept = times[WARMUP:]
    return {
        "classes": options.classes,
        "settings": {key: str(value) for key, value in settings.items()},
        "two_classes_ms": 1000 * statistics.median(two for two, _ in kept),
        "several_classes_ms": 1000 * statistics.median(several for _, several in kept),
        "ratio": statistics.median(several / two for two, several in kept),
    }


def time_opening(folder: Path, size: str, cache: Path, rounds: int = 5) -> dict[str, Any]:
    """Seconds to open a decoded data set, the process and its imports excluded."""
    width, height = size.split("x")
    with progress_bar("decoding images") as progress:
        open_data(folder, (int(width), int(height)), cache=cache, progress=progress)
    found = []
    for _ in range(rounds):
        command = [sys.executable, "-c", OPEN, str(folder.resolve()), width, height, str(cache)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        found.append(done.stdout.split())
    return {"images": int(found[0][1]), "size": size, "seconds": statistics.median(float(took) for took, _ in found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--open", type=Path, metavar="DATA", help="a data set whose opening is timed too")
    parser.add_argument("--out", type=Path, default=RESULTS / "class_steps.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch:
        steps = compare_steps(options, Path(scratch))
        opening = None if options.open is None else time_opening(options.open, "256x224", Path(scratch) / "slices")
    write_json(
        options.out,
        {"command": command_line(), "commit": commit(), "machine": machine(), "steps": steps, "opening": opening},
    )
    print_table([{key: value for key, value in steps.items() if key != "settings"}])
    if opening:
        say(f"opening {opening['images']:,} images of {opening['size']}: {json.dumps(opening['seconds'])} s")
    say(f"Written to {options.out}")


if __name__ == "__main__":
    main()
