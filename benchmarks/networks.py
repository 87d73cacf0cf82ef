"""What each network costs beside the smp U-Net: parameters, time of a step and of an evaluation image, peak memory.

    python benchmarks/networks.py [--size 160x128] [--batch 8] [--device auto] [--networks A,B,...] [--set KEY=VALUE]

Every measurement runs in a new process with the fold loop's own parts and generated images; a hyperparameter given with
``--set`` applies to the networks that have it. Networks are measured in turn, in several rounds, and ratios are taken
within a round, so that a drift of the machine's speed affects all of them. Memory is that of tensors on a GPU and the
growth of the process on a CPU.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.machine import command_line, commit, machine
from trainable.config import Config, conditions_of, make_config, parse_assignments
from trainable.data.decoded_images import open_data
from trainable.data.folds import folds_of
from trainable.data.synthetic.synthesize import synthesize
from trainable.errors import UserError, did_you_mean
from trainable.machine.device import is_out_of_memory, pick_device
from trainable.machine.isolated import in_fresh_process
from trainable.networks.registry import ARCHITECTURES
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json
from trainable.training.evaluate import evaluate
from trainable.training.trial import FoldTrial

RESULTS = Path(__file__).parent / "results"
YARDSTICK = "unet"
WARMUP = 2
LARGE = ("sam",)  # takes several gigabytes at its usual size, whatever the size of the images
MEASURED = ("step_ms", "image_ms", "peak_mb")


def config_of(architecture: str, options: argparse.Namespace) -> Config:
    """The config of a network with those of the given hyperparameters that exist with it."""
    given = parse_assignments(options.set)
    own = {
        name: value
        for name, value in given.items()
        if architecture in conditions_of(Config, name).get("architecture", ARCHITECTURES)
    }
    common = {"architecture": architecture, "size": options.size, "batch_size": options.batch, "steps": 1_000_000}
    return make_config(common | own)


def measure(config: Config, folder: Path, cache: Path, name: str, steps: int) -> dict[str, float]:
    """One network in one process."""
    device = pick_device(name)
    data = open_data(folder, config.size, cache=cache)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    try:
        trial = FoldTrial(config, data, folds_of(data, 2, 0), 0, device)
        step = statistics.median([_step_seconds(trial) for _ in range(WARMUP + steps)][WARMUP:])
        for _ in range(2):  # the first is a warm-up with the same shapes
            began, images = _now(device), trial.held_out[: 2 * config.batch_size]
            evaluate(trial.ema.network, data, images, config, device, trial.autocast)
            image = (_now(device) - began) / len(images)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"{config.architecture}: does not fit in the memory of {device}") from error
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    else:
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    parameters = sum(parameter.numel() for parameter in trial.network.parameters())
    return {"parameters": parameters, "step_ms": 1000 * step, "image_ms": 1000 * image, "peak_mb": peak / 2**20}


def _step_seconds(trial: FoldTrial) -> float:
    batch = trial.stream[trial.step]
    began = _now(trial.device)
    trial.train_step(*batch)
    return _now(trial.device) - began


def _now(device: torch.device) -> float:
    """The time after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def summary(rounds: list[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """A row per network: medians over the rounds, and the medians of the ratios within each round."""
    rows = []
    for name in rounds[0]:
        row: dict[str, Any] = {"network": name, "million_parameters": rounds[0][name]["parameters"] / 1e6}
        for key in MEASURED:
            row[key] = statistics.median(each[name][key] for each in rounds)
            row[key.split("_")[0] + "_ratio"] = statistics.median(
                each[name][key] / each[YARDSTICK][key] for each in rounds
            )
        rows.append(row)
    return rows


def run(options: argparse.Namespace) -> dict[str, Any]:
    configs = {name: config_of(name, options) for name in dict.fromkeys([YARDSTICK, *options.networks])}
    device = str(pick_device(options.device))
    rounds: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory(prefix="scribble-search-") as scratch, progress_bar("networks") as progress:
        data, cache = Path(scratch) / "data", Path(scratch) / "cache"
        width, height = (max(64, side) for side in configs[YARDSTICK].size)
        synthesize(data, 4 * options.batch, 0, width, height, 0)
        for number in range(options.rounds):
            rounds.append({})
            for done, (name, config) in enumerate(configs.items()):
                rounds[-1][name] = in_fresh_process(measure, config, data, cache, device, options.steps)
                progress(number * len(configs) + done + 1, options.rounds * len(configs))
    return {
        "command": command_line(),
        "commit": commit(),
        "machine": machine("torch", "segmentation-models-pytorch", "timm")
        | {"device": torch.cuda.get_device_name() if device.startswith("cuda") else device},
        "configs": {name: config.model_dump(mode="json") for name, config in configs.items()},
        "networks": summary(rounds),
        "rounds": rounds,
    }


def networks(text: str) -> list[str]:
    found = text.split(",")
    for name in found:
        if name not in ARCHITECTURES:
            hint = did_you_mean(name, ARCHITECTURES) or f" Known: {', '.join(ARCHITECTURES)}."
            raise argparse.ArgumentTypeError(f"unknown network {name!r}.{hint}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="160x128")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--networks",
        type=networks,
        default=[name for name in ARCHITECTURES if name not in LARGE],
        metavar="A,B,...",
        help="default: all but " + ", ".join(LARGE),
    )
    parser.add_argument("--steps", type=int, default=10, help="steps per network and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a hyperparameter")
    parser.add_argument("--out", type=Path, default=RESULTS / "networks.json")
    options = parser.parse_args()
    try:
        document = run(options)
    except UserError as error:
        parser.error(str(error))
    write_json(options.out, document)
    print_table(document["networks"], f"ratios to {YARDSTICK}, batch {options.batch} at {options.size}")
    say(f"Written to {options.out}")


if __name__ == "__main__":
    main()
