"""Coverage of the interval of the bias-corrected score; writes results/corrected.json.

python benchmarks/corrected.py --count 500
python benchmarks/corrected.py --count 500 --images 100 --out benchmarks/results/corrected_100.json
"""

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
from benchmarks.machine import commit, machine
from tests.analysis.statistics.test_bootstrap import segmented, truth
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

FOLDS, CONFIGS, DRAWS = 5, 24, 400
SPREADS = (0.1, 0.03, 0.0)  # sd between configs of the share of missed pixels, in logits
LEVELS = np.linspace(-0.5, 0.5, 21)


def covers(spread: float, images: int, expected: list[float], seed: int) -> bool:
    """Whether the interval contains the true score of the selected config."""
    rng = np.random.default_rng(seed)
    worse = rng.normal(0, spread, CONFIGS)
    estimate = bias_corrected(segmented(rng, worse, images), np.arange(images) % FOLDS, "miou", draws=DRAWS)
    return bool(estimate.low < np.interp(worse[estimate.winner], LEVELS, expected) < estimate.high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="simulations of each spread")
    parser.add_argument("--images", type=int, default=228, help="images of a data set")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "corrected.json")
    options = parser.parse_args()
    start, rows = time.monotonic(), []
    expected = [float(truth("miou", options.images // FOLDS, worse)) for worse in LEVELS]
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for spread in SPREADS:
            covered = list(pool.map(partial(covers, spread, options.images, expected), range(options.count)))
            rows.append({"spread": spread, "simulations": options.count, "held": float(np.mean(covered))})
            say(f"{time.monotonic() - start:.0f} s: {rows[-1]}")
    command = f"python benchmarks/corrected.py --count {options.count} --images {options.images}"
    document = {"command": command, "commit": commit(), "machine": machine()}
    document["setting"] = {"images": options.images, "folds": FOLDS, "configs": CONFIGS, "draws": DRAWS}
    write_json(options.out, {**document, "results": rows})
    print_table(rows, f"coverage of nominal 95 % intervals, {options.images} images, {CONFIGS} configs")


if __name__ == "__main__":
    main()
