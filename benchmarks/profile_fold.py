"""Profile a fold: the time spent in the model and in everything else.

    python benchmarks/profile_fold.py [DATA] [--set KEY=VALUE ...] [--steps 8]

Measures each part of the fold loop's step, one evaluation, one checkpoint and the final results, each weighted by how
often a complete fold runs it, and the time that one core needs per sample by augmentation. Without DATA, a
synthetic set of the real one's size is used. On a GPU the profiler waits for each part, which a fold does not do, so
there the parts add up to more than a step takes.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import command_line, commit, cpu_name
from trainable.config import Config, make_config, parse_assignments
from trainable.printing import print_table
from trainable.storage.atomic_files import write_json

RESULTS = Path(__file__).parent / "results"
MODEL = ("forward", "backward")
CHECKPOINT_SECONDS = 120.0
SAMPLES = 320
LEVELS = get_args(Config.model_fields["augmentation"].annotation)


class Stopwatches:
    """Seconds by part; time in a nested part counts for the inner part only."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self.synchronize, self.seconds, self._inner = synchronize, defaultdict[str, float](float), [0.0]

    def wrap(self, owner: Any, name: str, label: str) -> None:
        """Time every later call of ``owner.name``."""
        real = getattr(owner, name)
        setattr(owner, name, lambda *args, **more: self.call(label, real, *args, **more))

    def call(self, label: str, work: Callable[..., Any], *args: Any, **more: Any) -> Any:
        self.synchronize()
        start = time.perf_counter()
        self._inner.append(0.0)
        result = work(*args, **more)
        self.synchronize()
        spent = time.perf_counter() - start
        self.seconds[label] += spent - self._inner.pop()
        self._inner[-1] += spent
        return result


def profile(options: argparse.Namespace, folder: Path, scratch: Path) -> dict[str, Any]:
    import torch

    from trainable.augmentation.batches import PREFETCHED, default_workers, training_batches
    from trainable.data.decoded_images import open_data
    from trainable.data.folds import make_folds
    from trainable.machine.device import pick_device
    from trainable.training import trial as steps
    from trainable.training.finish import write_results

    config = make_config(parse_assignments(options.set))
    device = pick_device("auto")
    data = open_data(folder, config.size, cache=scratch / "cache")
    trial = steps.FoldTrial(config, data, make_folds(data.foreground_shares, 5, 0, data.hash), 0, device)
    watches = Stopwatches(torch.cuda.synchronize if device.type == "cuda" else lambda: None)
    for owner, name, label in (
        (trial.network, "forward", "forward"),
        (steps, "training_loss", "loss"),
        (torch.Tensor, "backward", "backward"),
        (torch.nn.utils, "clip_grad_norm_", "clipping"),
        (trial.optimizer, "step", "optimizer"),
        (trial.ema, "update", "averaged weights"),
    ):
        watches.wrap(owner, name, label)
    workers = default_workers(device) if options.workers is None else options.workers
    batches = training_batches(trial.stream, 0, config.steps, device, workers)
    for _ in range(options.warmup + PREFETCHED * workers):  # until the speed reflects the input pipeline too
        trial.train_step(*next(batches))
    watches.seconds.clear()
    for _ in range(options.steps):
        batch = watches.call("waiting for input", next, batches)
        watches.call("rest of the step", trial.train_step, *batch)
    step = {label: seconds / options.steps for label, seconds in watches.seconds.items()}
    once = {
        "an evaluation": _timed(watches, trial.evaluate),
        "a checkpoint": _timed(watches, lambda: trial.save(scratch)),
        "the results": _timed(watches, lambda: write_results(trial, scratch, False)),
    }
    training = config.steps * sum(step.values())
    counts = {"an evaluation": config.evaluations, "a checkpoint": training / CHECKPOINT_SECONDS, "the results": 1}
    fold = training + sum(seconds * counts[label] for label, seconds in once.items())
    rows = [
        {"part": label, "seconds": seconds, "times": config.steps, "share": config.steps * seconds / fold}
        for label, seconds in sorted(step.items(), key=lambda item: -item[1])
    ]
    rows += [
        {"part": label, "seconds": seconds, "times": round(counts[label]), "share": counts[label] * seconds / fold}
        for label, seconds in once.items()
    ]
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else cpu_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "images": {"training": len(trial.training), "held_out": len(trial.held_out)},
        "size": data.size,
        "model": sum(row["share"] for row in rows if row["part"] in MODEL),
        "fold_hours": fold / 3600,
        "parts": rows,
        "sample_ms": {level: 1e3 * _sample_seconds(trial, level) for level in LEVELS},
    }


def _sample_seconds(trial: Any, level: str) -> float:
    """The time per sample of one dedicated core, like a data-loading process."""
    import cv2

    from trainable.augmentation.batches import BatchStream

    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        config = trial.config.model_copy(update={"augmentation": level})
        stream = BatchStream(trial.data, trial.training, config, trial.fold)
        start = time.perf_counter()
        batches = max(1, round(SAMPLES / config.batch_size))
        for step in range(batches):
            stream[step]
        return (time.perf_counter() - start) / batches / config.batch_size
    finally:
        cv2.setNumThreads(threads)


def _timed(watches: Stopwatches, work: Callable[[], Any]) -> float:
    before = sum(watches.seconds.values())
    watches.call("once", work)
    return sum(watches.seconds.values()) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a hyperparameter")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--name", default="profile_fold", help="name of the result file")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.data or Path(scratch) / "data"
        if options.data is None:
            from trainable.data.synthetic.synthesize import synthesize

            synthesize(folder, 228, 0, 500, 375, 0)
        result = profile(options, folder, Path(scratch))
    command = command_line()
    write_json(options.results / f"{options.name}.json", {"command": command, "commit": commit(), **result})
    title = (
        f"{100 * result['model']:.1f} % of a fold of {result['fold_hours']:.2f} h is forward and backward of the model"
    )
    print_table(result["parts"], f"{title}, on {result['device']}")
    for level, each in result["sample_ms"].items():
        print(f"augmentation {level}: {each:.2f} ms per sample, {1e3 / each:.0f} images/s per core")


if __name__ == "__main__":
    main()
