"""The least that a training step could take, for benchmarks/step_time.py: its bytes and its arithmetic.

    python benchmarks/floor.py DATA --cache DIR [--set KEY=VALUE ...]

Bytes are those of the tensors that each operation of the fold loop's own step reads and writes, as torch executes it;
the bandwidth is that of a large copy, the rate that of a large product of matrices in the precision of the step. What
caches keep near, and operations that are fused, make a step faster than its bytes say; nothing makes it faster than its
arithmetic.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.loops import fold_trial, settle
from trainable.augmentation.batches import training_batches
from trainable.config import make_config, parse_assignments
from trainable.data.decoded_images import unpack

SECONDS = 2.0


class BytesMoved(TorchDispatchMode):
    """Adds up what the operations within read and write; a view moves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        returned = func._schema.returns
        if not any(each.alias_info and not each.alias_info.is_write for each in returned):
            self.total += _bytes((args, kwargs or {})) + _bytes(result)
        return result


def _bytes(values: Any) -> int:
    return sum(each.nbytes for each in tree_leaves(values) if isinstance(each, Tensor))


def rate(work: Callable[[], Any], amount: float) -> float:
    """Of the amount that a call of ``work`` does, how much a second, at best."""
    best = 0.0
    end = time.perf_counter() + SECONDS
    work()
    settle()
    while time.perf_counter() < end:
        began = time.perf_counter()
        work()
        settle()
        best = max(best, amount / (time.perf_counter() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    config = make_config(parse_assignments(asked.set))
    trial = fold_trial(config, asked.data, asked.cache)
    batches = training_batches(trial.stream, 0, 3, trial.device, 0)
    trial.train_step(*next(batches))
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        images, labels = (tensor.to(trial.device) for tensor in next(batches))
        trial.network(images, unpack(labels)[0])
    with BytesMoved() as moved:
        trial.train_step(*next(batches))
    cuda = trial.device.type == "cuda"
    source = torch.ones(2**30 if cuda else 2**28, dtype=torch.uint8, device=trial.device)
    target = torch.empty_like(source)
    bandwidth = rate(lambda: target.copy_(source), 2 * source.nbytes)
    side = 8192 if cuda else 2048
    with trial.autocast():
        matrix = torch.ones(side, side, device=trial.device)
        matrix = (matrix @ matrix) / side  # in the precision of the step, so that no product casts it again
        speed = rate(lambda: matrix @ matrix, 2 * side**3)
    flop = (
        3 * flops.get_total_flops()
    )  # backward takes twice as many; torch's counter is wrong there for depthwise layers
    bytes_ms, flop_ms = 1e3 * moved.total / bandwidth, 1e3 * flop / speed
    found = {
        "gigabytes": moved.total / 1e9,
        "gb_per_second": bandwidth / 1e9,
        "bytes_ms": bytes_ms,
        "gflop": flop / 1e9,
        "tflops": speed / 1e12,
        "flop_ms": flop_ms,
        "image_ms": max(bytes_ms, flop_ms) / config.batch_size,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
