"""Lower bounds of a training step from its memory traffic and its arithmetic, for benchmarks/step_time.py.

    python benchmarks/roofline.py DATA --cache DIR [--set KEY=VALUE ...]

The memory traffic is the size of all tensors that the operations of a fold loop step read and write, as torch executes
them. The bandwidth is measured with a large copy, the arithmetic rate with a large matrix product in the precision of
the step. Caches and fused operations can make a step faster than its memory traffic suggests, but not faster than its
arithmetic.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.training_loops import fold_trial, synchronize
from trainable.augmentation.batches import training_batches
from trainable.config import make_config, parse_assignments
from trainable.data.packed_labels import unpack

SECONDS = 2.0
MOST = 12  # names of operations in the result


class BytesMoved(TorchDispatchMode):
    """Add up the bytes that operations read and write, and count operations by name; views are neither."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        returned = func._schema.returns
        if not any(each.alias_info and not each.alias_info.is_write for each in returned):
            self.total += _bytes((args, kwargs or {})) + _bytes(result)
            self.operations[func.__name__] += 1
        return result


def _bytes(values: Any) -> int:
    return sum(each.nbytes for each in tree_leaves(values) if isinstance(each, Tensor))


def rate(work: Callable[[], Any], amount: float, seconds: float = SECONDS) -> float:
    """The best rate per second at which calls of ``work`` process this amount."""
    work()
    synchronize()
    best = 0.0
    end = time.perf_counter() + seconds
    while not best or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        synchronize()
        best = max(best, amount / (time.perf_counter() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each rate is measured")
    options = parser.parse_args()
    config = make_config(parse_assignments(options.set))
    trial = fold_trial(config, options.data, options.cache)
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
    bandwidth = rate(lambda: target.copy_(source), 2 * source.nbytes, options.seconds)
    side = 8192 if cuda else 2048
    with trial.autocast():
        matrix = torch.ones(side, side, device=trial.device)
        matrix = (matrix @ matrix) / side  # in the precision of the step, so that the products need no cast
        speed = rate(lambda: matrix @ matrix, 2 * side**3, options.seconds)
    # Backward takes twice as many; torch's counter is wrong for the backward pass of depthwise layers.
    flop = 3 * flops.get_total_flops()
    bytes_ms, flop_ms = 1e3 * moved.total / bandwidth, 1e3 * flop / speed
    result = {
        "gigabytes": moved.total / 1e9,
        "gb_per_second": bandwidth / 1e9,
        "bytes_ms": bytes_ms,
        "gflop": flop / 1e9,
        "tflops": speed / 1e12,
        "flop_ms": flop_ms,
        "image_ms": max(bytes_ms, flop_ms) / config.batch_size,
        "operations": moved.operations.total(),
        "most_frequent": dict(moved.operations.most_common(MOST)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
