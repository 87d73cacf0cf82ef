"""Images per second of the fold loop against a naive loop, in one run on one machine, input pipeline included.

    python benchmarks/step_time.py [DATA] [--steps 20] [--rounds 3] [--workers N]

Each round measures both loops in a fresh process of their own, one after the other, so that a machine whose speed
drifts is unfair to neither; the ratio is taken per round and its median quoted. Without DATA, a synthetic set is made.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import cpu_name

RESULTS = Path(__file__).parent / "results"


def fold_loop(folder: Path, cache: Path, workers: int | None, warmup: int, steps: int) -> dict[str, Any]:
    """The project's own step and batches, as ``train_fold`` runs them."""
    from trainable.batches import default_workers, training_batches
    from trainable.cache import open_data
    from trainable.config import make_config
    from trainable.device import pick_device
    from trainable.folds import make_folds
    from trainable.trial import FoldTrial

    config = make_config({"size": "480x352", "steps": warmup + steps})
    device = pick_device("auto")
    data = open_data(folder, config.size, cache=cache)
    trial = FoldTrial(config, data, make_folds(data.foreground_shares, 5, 0, data.hash), 0, device)
    workers = default_workers(device) if workers is None else workers
    batches = training_batches(trial.stream, 0, config.steps, device, workers)
    result = measure(batches, lambda batch: trial.train_step(*batch), device, warmup, steps, config.batch_size)
    return result | {"workers": workers}


def naive_loop(folder: Path, cache: Path, workers: int | None, warmup: int, steps: int) -> dict[str, Any]:
    """What one writes first: everything from the files at every sample, float32, NCHW, ``.item()`` at every step."""
    import albumentations as A
    import cv2
    import numpy as np
    import segmentation_models_pytorch as smp
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from trainable.batches import default_workers
    from trainable.dataset import open_split

    split = open_split(folder)
    size = (480, 352)
    mean, std = np.array([0.459, 0.459, 0.422], np.float32), np.array([0.262, 0.263, 0.282], np.float32)
    augment = A.Compose(
        [
            A.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.05, 0.05), p=0.8),
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.2),
            A.Affine(rotate=(-15, 15), translate_percent=(-0.1, 0.1), scale=(0.85, 1.15), fill_mask=0, p=0.8),
        ]
    )

    class Samples(Dataset[Any]):
        def __len__(self) -> int:
            return len(split.stems) * 1000

        def __getitem__(self, index: int) -> Any:
            stem = split.stems[index % len(split.stems)]
            image = Image.open(split.images[stem]).convert("RGB").resize(size, Image.Resampling.LANCZOS)
            scribble = Image.open(split.scribbles[stem]).convert("L").resize(size, Image.Resampling.NEAREST)
            mask = Image.open(split.truth[stem]).resize(size, Image.Resampling.NEAREST)
            labels = np.asarray(scribble)
            signed = np.where(labels == 1, 1, np.where(labels == 0, 2, 0)).astype(np.uint8)
            done = augment(image=np.asarray(image), masks=[signed, np.asarray(mask)])
            colour = (done["image"].astype(np.float32) / 255 - mean) / std
            strokes = (done["masks"][0] == 1).astype(np.float32) - (done["masks"][0] == 2).astype(np.float32)
            channels = np.concatenate([colour, strokes[..., None]], axis=2).transpose(2, 0, 1)
            return torch.from_numpy(np.ascontiguousarray(channels)), torch.from_numpy(done["masks"][1]).float()[None]

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    workers = default_workers(device) if workers is None else workers
    cv2.setNumThreads(1)
    loader = DataLoader(Samples(), batch_size=8, shuffle=True, num_workers=workers)
    network: Any = smp.Unet(
        "efficientnet-b2", encoder_weights=None, in_channels=4, classes=1, decoder_attention_type="scse"
    ).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1e-4)
    weight = torch.tensor(3.0, device=device)

    def step(batch: Any) -> None:
        images, truth = (tensor.to(device) for tensor in batch)
        logits = network(images)
        p = logits.sigmoid()
        overlap, total = (p * truth).sum((1, 2, 3)), (p + truth).sum((1, 2, 3))
        region = (1 - overlap / (total - overlap + 1e-6)).mean()
        bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight)
        loss = region + 0.2 * bce
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return measure(iter(loader), step, device, warmup, steps, 8) | {"workers": workers}


def measure(batches: Iterator[Any], step: Any, device: Any, warmup: int, steps: int, batch: int) -> dict[str, Any]:
    """Time ``steps`` after ``warmup``, and how long the loop stood waiting for its next batch."""
    import torch

    def settle() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(warmup):
        step(next(batches))
    began, waited = settle(), 0.0
    for _ in range(steps):
        asked = time.perf_counter()
        item = next(batches)
        waited += time.perf_counter() - asked
        step(item)
    seconds = settle() - began
    return {
        "images_per_second": steps * batch / seconds,
        "step_ms": 1000 * seconds / steps,
        "waiting_share": waited / seconds,
        "resident_mb": _resident_mb(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "gpu_peak_mb": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _resident_mb() -> float:
    """Memory apart from activations, which are given back first, and from the shared cache, which is not its own."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:")) / 1024


LOOPS = {"fold loop": fold_loop, "naive loop": naive_loop}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--name", default="step_time", help="of the result file under benchmarks/results")
    parser.add_argument("--loop", choices=LOOPS, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        result = LOOPS[options.loop](options.data, options.cache, options.workers, options.warmup, options.steps)
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or Path(scratch) / "data"
        if options.data is None:
            from trainable.synthesize import synthesize

            synthesize(data, 40, 0, 500, 375, 0)
        rounds = [_round(options, data, Path(scratch) / "cache", number) for number in range(options.rounds)]
    report(rounds, options)


def _round(options: argparse.Namespace, data: Path, cache: Path, number: int) -> dict[str, Any]:
    results = {}
    for loop in LOOPS:
        command = [sys.executable, __file__, str(data), "--loop", loop, "--cache", str(cache)]
        command += ["--steps", str(options.steps), "--warmup", str(options.warmup)]
        command += ["--workers", str(options.workers)] if options.workers is not None else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[loop] = json.loads(done.stdout.splitlines()[-1])
        print(
            f"round {number + 1}: {loop} {results[loop]['images_per_second']:.2f} images/s", file=sys.stderr, flush=True
        )
    return results


def report(rounds: list[dict[str, Any]], options: argparse.Namespace) -> None:
    ratios = [one["fold loop"]["images_per_second"] / one["naive loop"]["images_per_second"] for one in rounds]
    keys = ("images_per_second", "step_ms", "waiting_share", "resident_mb", "peak_mb", "gpu_peak_mb")
    print(f"{'':<12}" + "".join(f"{key:>20}" for key in keys))
    for loop in LOOPS:
        values = [[one[loop][key] for one in rounds if one[loop][key] is not None] for key in keys]
        print(f"{loop:<12}" + "".join(f"{statistics.median(v):>20.3f}" if v else f"{'-':>20}" for v in values))
    print(f"fold loop / naive loop, images per second: {statistics.median(ratios):.2f} (rounds: {sorted(ratios)})")
    first = rounds[0]["fold loop"]
    document = {
        "what": "EfficientNet-B2 U-Net, batch 8, 480x352, augmentation low; input pipeline included",
        "machine": {key: first[key] for key in ("device", "threads", "torch")} | {"python": platform.python_version()},
        "command": f"python benchmarks/step_time.py --steps {options.steps} --rounds {options.rounds}",
        "ratio": {"median": statistics.median(ratios), "rounds": ratios},
        "rounds": rounds,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{options.name}.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
