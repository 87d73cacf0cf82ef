"""Run one training loop for benchmarks/step_time.py: the fold loop, a variant of it, or a naive loop.

    python benchmarks/training_loops.py naive|fold|compile|graph DATA --cache DIR --steps N --warmup N --workers N

Prints ``ready`` after the warm-up, waits for a line on stdin, measures, prints the result as JSON, and continues
training until the next line, so that no loop has the device to itself while others are still measured.
"""

import argparse
import ctypes
import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import cpu_name
from trainable.augmentation.batches import PREFETCHED, training_batches
from trainable.config import Config, make_config, parse_assignments
from trainable.data.dataset import open_split
from trainable.data.decoded_images import open_data
from trainable.data.folds import make_folds
from trainable.machine.device import pick_device
from trainable.networks.encoders import encoder_name
from trainable.training.trial import FoldTrial

MEAN, STD = np.array([0.459, 0.459, 0.422], np.float32), np.array([0.262, 0.263, 0.282], np.float32)


def fold_trial(config: Config, folder: Path, cache: Path) -> FoldTrial:
    data = open_data(folder, config.size, cache=cache)
    folds = make_folds(data.foreground_shares, 5, 0, data.hash)
    return FoldTrial(config, data, folds, 0, pick_device("auto"))


def fold_loop(config: Config, options: argparse.Namespace) -> tuple[Iterator[Any], Callable[[Any], None]]:
    """The training step and batches of ``train_fold``, with the acceleration that the loop is named after."""
    acceleration = "none" if options.loop == "fold" else options.loop
    config = config.model_copy(update={"acceleration": acceleration})
    trial = fold_trial(config, options.data, options.cache)
    batches = training_batches(trial.stream, 0, config.steps, trial.device, options.workers)
    return batches, lambda batch: trial.train_step(*batch)


class NaiveSamples(Dataset[Any]):
    """Samples read from the files each time, as float32 in NCHW."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.split, self.size = open_split(folder), size
        self.augment = A.Compose(
            [
                A.ColorJitter(
                    brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.05, 0.05), p=0.8
                ),
                A.HorizontalFlip(p=0.5),
                A.VerticalFlip(p=0.2),
                A.Affine(rotate=(-15, 15), translate_percent=(-0.1, 0.1), scale=(0.85, 1.15), fill_mask=0, p=0.8),
            ]
        )

    def __len__(self) -> int:
        return len(self.split.stems)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        stem = self.split.stems[index]
        image = Image.open(self.split.images[stem]).convert("RGB").resize(self.size, Image.Resampling.LANCZOS)
        scribble = Image.open(self.split.scribbles[stem]).convert("L").resize(self.size, Image.Resampling.NEAREST)
        truth = Image.open(self.split.truth[stem]).resize(self.size, Image.Resampling.NEAREST)
        labels, mask = np.asarray(scribble), (np.asarray(truth) > 0).astype(np.uint8)
        signed = np.where(labels == 1, 1, np.where(labels == 0, 2, 0)).astype(np.uint8)
        augmented = self.augment(image=np.asarray(image), masks=[signed, mask])
        colour = (augmented["image"].astype(np.float32) / 255 - MEAN) / STD
        strokes = (augmented["masks"][0] == 1).astype(np.float32) - (augmented["masks"][0] == 2).astype(np.float32)
        channels = np.concatenate([colour, strokes[..., None]], axis=2).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(channels)), torch.from_numpy(augmented["masks"][1]).float()[None]


def naive_loop(config: Config, options: argparse.Namespace) -> tuple[Iterator[Any], Callable[[Any], None]]:
    """A simple training loop: no cache, no channels_last, no half precision, ``.item()`` at every step."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cv2.setNumThreads(1)
    assert config.size != "auto"
    samples = NaiveSamples(options.data, config.size)
    persistent = {"persistent_workers": True, "prefetch_factor": PREFETCHED} if options.workers else {}
    loader = DataLoader(
        samples, config.batch_size, shuffle=True, drop_last=True, num_workers=options.workers, **persistent
    )
    network: nn.Module = smp.Unet(
        encoder_name(config.encoder),
        encoder_weights=None,
        in_channels=4,
        classes=1,
        decoder_attention_type=config.attention,
    ).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1e-4)
    weight = torch.tensor(3.0, device=device)

    def step(batch: Any) -> None:
        images, truth = (tensor.to(device) for tensor in batch)
        logits = network(images)
        p = logits.sigmoid()
        overlap, total = (p * truth).sum((1, 2, 3)), (p + truth).sum((1, 2, 3))
        region = (1 - overlap / (total - overlap + 1e-6)).mean()
        loss = region + 0.2 * nn.functional.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return chain.from_iterable(repeat(loader)), step


def measure(
    batches: Iterator[Any], step: Callable[[Any], None], options: argparse.Namespace, batch: int
) -> dict[str, Any]:
    """Time ``steps`` after ``warmup``, and the share of time spent waiting for batches."""
    start = time.perf_counter()
    step(next(batches))
    synchronize()
    first = time.perf_counter() - start
    for _ in range(options.warmup - 1):
        step(next(batches))
    synchronize()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(PREFETCHED * options.workers):  # use up the batches that were prepared during the wait
        step(next(batches))
    synchronize()
    start, waited = time.perf_counter(), 0.0
    for _ in range(options.steps):
        requested = time.perf_counter()
        item = next(batches)
        waited += time.perf_counter() - requested
        step(item)
    synchronize()
    seconds = time.perf_counter() - start
    cuda = torch.cuda.is_available()
    return {
        "images_per_second": options.steps * batch / seconds,
        "step_ms": 1000 * seconds / options.steps,
        "waiting_share": waited / seconds,
        "first_s": first,
        "resident_mb": _resident_mb(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "gpu_peak_mb": torch.cuda.max_memory_reserved() / 2**20 if cuda else None,
        "device": torch.cuda.get_device_name() if cuda else cpu_name(),
        "threads": torch.get_num_threads(),
        "workers": options.workers,
        "torch": torch.__version__,
    }


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _resident_mb() -> float:
    """Memory without freed activations, which are returned to the system first, and without the shared cache."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:")) / 1024


LOOPS = {"naive": naive_loop, "fold": fold_loop, "compile": fold_loop, "graph": fold_loop}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loop", choices=LOOPS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    for name in ("--steps", "--warmup", "--workers"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args()
    config = make_config(parse_assignments(options.set))
    batches, step = LOOPS[options.loop](config, options)
    print(json.dumps(measure(batches, step, options, config.batch_size)), flush=True)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    while not stop.is_set():
        step(next(batches))


if __name__ == "__main__":
    main()
