"""What a step of each recipe, and of the CRF term, costs relative to a supervised step on the same batches.

    python benchmarks/recipes.py [--classes 4] [--images 24] [--size 128x128] [--steps 20] [--set KEY=VALUE]

All learn from the same scribbles with the same network. Steps are taken in turn in one process, so that a drift of the
machine's speed affects all of them, and the median of the ratios is reported; a step includes augmentation, forward,
backward and the optimizer.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.machine import command_line, commit, machine
from trainable.config import Config, make_config, parse_assignments
from trainable.data.decoded_images import open_data
from trainable.data.folds import folds_of
from trainable.data.synthetic.synthesize import synthesize
from trainable.machine.device import pick_device
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json
from trainable.training.trial import FoldTrial

RESULTS = Path(__file__).parent / "results"
WARMUP = 3
USUAL = "supervised"
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {"recipe": name} for name in get_args(Config.model_fields["recipe"].annotation)},
    "cyclemix + transport": {"recipe": "cyclemix", "mix_transport": "blocks"},
    f"{USUAL} + CRF": {"recipe": USUAL, "lambda_crf": 0.1},
}
# The most that a step should cost on a CPU at 128x128.
GOALS = {"cyclemix": 3.3, "cyclemix + transport": 3.3, "mean_teacher": 1.6, "dual_branch": 1.5, f"{USUAL} + CRF": 1.25}


def seconds_of_step(trial: FoldTrial, device: torch.device) -> float:
    start = time.perf_counter()
    trial.train_step(*trial.stream[trial.step])
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def compare(options: argparse.Namespace, scratch: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The settings that all variants share, and a row for each variant."""
    width, height = (int(part) for part in options.size.split("x"))
    synthesize(scratch / "data", options.images, 0, width, height, 0, classes=options.classes)
    device = pick_device(options.device)
    settings = {"size": options.size, "supervision": "scribbles", "inputs": "image", "steps": 10_000}
    settings |= parse_assignments(options.set)
    configs = {name: make_config({**settings, **values}) for name, values in VARIANTS.items()}
    data = open_data(scratch / "data", configs[USUAL].size, cache=scratch / "cache")
    folds = folds_of(data, 4, 0)
    trials = {name: FoldTrial(config, data, folds, 0, device) for name, config in configs.items()}
    rounds: list[dict[str, float]] = []
    with progress_bar("steps") as progress:
        for step in range(WARMUP + options.steps):
            rounds.append({name: seconds_of_step(trial, device) for name, trial in trials.items()})
            progress(step + 1, WARMUP + options.steps)
    kept = rounds[WARMUP:]
    rows = [
        {
            "recipe": name,
            "step_ms": 1000 * statistics.median(each[name] for each in kept),
            "times_supervised": statistics.median(each[name] / each[USUAL] for each in kept),
            "goal": GOALS.get(name),
        }
        for name in trials
    ]
    return {key: str(value) for key, value in settings.items()}, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS / "recipes.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch:
        settings, rows = compare(options, Path(scratch))
    document = {
        "command": command_line(),
        "commit": commit(),
        "machine": machine(),
        "settings": settings,
        "classes": options.classes,
    }
    write_json(options.out, {**document, "recipes": rows})
    print_table(rows)
    say(f"Written to {options.out}")


if __name__ == "__main__":
    main()
