"""How often the interval of the bias-corrected score holds the truth; writes results/corrected.json.

python benchmarks/corrected.py --count 500
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.statistics.bootstrap import bias_corrected
from benchmarks.machine import machine
from tests.analysis.statistics.test_bootstrap import segmented, truth
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

IMAGES, FOLDS, CONFIGS, DRAWS = 228, 5, 24, 400
SPREADS = (0.1, 0.03, 0.0)  # sd of the configs' shares of missed pixels, on the scale of their logits
LEVELS = np.linspace(-0.5, 0.5, 21)


def holds(spread: float, expected: list[float], seed: int) -> bool:
    """The truth is that of the config that was picked."""
    rng = np.random.default_rng(seed)
    worse = rng.normal(0, spread, CONFIGS)
    found = bias_corrected(segmented(rng, worse, IMAGES), np.arange(IMAGES) % FOLDS, "miou", draws=DRAWS)
    return bool(found.low < np.interp(worse[found.winner], LEVELS, expected) < found.high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="simulations of each kind")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "corrected.json")
    asked = parser.parse_args()
    began, rows = time.monotonic(), []
    expected = [float(truth("miou", IMAGES // FOLDS, worse)) for worse in LEVELS]
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        for spread in SPREADS:
            held = list(pool.map(partial(holds, spread, expected), range(asked.count)))
            rows.append({"spread": spread, "simulations": asked.count, "held": float(np.mean(held))})
            say(f"{time.monotonic() - began:.0f} s: {rows[-1]}")
    command = f"python benchmarks/corrected.py --count {asked.count}"
    setting = {"images": IMAGES, "folds": FOLDS, "configs": CONFIGS, "draws": DRAWS}
    write_json(asked.out, {"command": command, "machine": machine(), "setting": setting, "results": rows})
    print_table(rows, f"share of nominal 95 % intervals that hold the truth, {IMAGES} images, {CONFIGS} configs")


if __name__ == "__main__":
    main()
