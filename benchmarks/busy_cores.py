"""Training with two threads, alone and on cores that other programs use too, by how long its threads spin.

    python benchmarks/busy_cores.py [--steps 20] [--rounds 3]

GOMP_SPINCOUNT is how often a thread looks whether the others are done before it sleeps; trainable/__init__.py sets it.
The other programs, one per core and of the same priority, compute without end. Writes results/busy_cores_cpu2.json.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import commit, machine
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
SPINS = ("system", "20000", "5000", "2000", "1000", "0")  # the first is the default of the library
SETTINGS = ("encoder=tf_efficientnet_lite0", "size=160x160", "batch_size=8", "augmentation=high", "precision=float32")
MEASURE = """
import sys, time
from pathlib import Path
import torch  # before trainable, which sets the number for what is imported after it
from trainable import folds_of, make_config, open_data, train_fold
data, folder, steps, *pairs = sys.argv[1:]
config = make_config(dict(pair.split("=", 1) for pair in pairs) | {"steps": 10_000})
torch.set_num_threads(2)
opened = open_data(data, config.size)
began = []
def count(step):
    began.append(time.perf_counter())
    return step < int(steps) and began[-1] - began[0] < 90
for _ in train_fold(config, opened, folds_of(opened, 3, seed=0), 0, Path(folder), keep_going=count, workers=0):
    pass
print((began[-1] - began[0]) / (len(began) - 1))
"""


def step_seconds(spins: str, steps: int, data: Path) -> float:
    """Seconds per step after the first one, of up to ``steps`` or as many as take 90 seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment |= {"PYTHONPATH": str(HOME)} | ({} if spins == "system" else {"GOMP_SPINCOUNT": spins})
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", MEASURE, str(data), folder, str(steps), *SETTINGS]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout)


@contextmanager
def others(count: int) -> Iterator[None]:
    command = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/busy_cores_cpu2.json")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "data")
        command = [sys.executable, "-m", "trainable", "synthesize", str(data), "--images", "60"]
        subprocess.run(command, cwd=HOME, check=True, capture_output=True)
        for _ in range(options.rounds):
            for busy in (0, cores):
                with others(busy):
                    for spins in SPINS:
                        found.setdefault((spins, busy), []).append(step_seconds(spins, options.steps, data))
                        say(f"spins {spins}, {busy} other programs: {1e3 * found[spins, busy][-1]:.0f} ms per step")
    rows: list[dict[str, Any]] = [
        {"spins": spins, "alone_ms": 1e3 * median(found[spins, 0]), "busy_ms": 1e3 * median(found[spins, cores])}
        for spins in SPINS
    ]
    command_line = f"python benchmarks/busy_cores.py --steps {options.steps} --rounds {options.rounds}"
    facts = {"command": command_line, "commit": commit(), "machine": machine("torch"), "settings": SETTINGS}
    write_json(options.out, {**facts, "rows": rows})
    print_table(rows, f"two threads on {machine()['cpu']}")


if __name__ == "__main__":
    from trainable.exit_codes import run

    run(main)
