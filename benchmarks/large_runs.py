"""Time to read a large run and to write and open its report; writes results/large_runs_cpu2.json.

    python benchmarks/large_runs.py [--configs 1000] [--reports 100]

The run is generated, not trained: every fold trial has full length, as in a grid run. Each part runs in a separate
process, like the command itself. The page is opened in Chromium, if it is installed.
"""

import argparse
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import commit, machine
from tests.support.untrained_runs import GRID, RANGES, write_run
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
FOLDS = 5


def read(run: Path) -> dict[str, Any]:
    from search.runs.run_folder import Run
    from search.runs.run_tables import read_run

    wall, cpu = time.perf_counter(), time.process_time()
    tables = read_run(Run(run))
    rows = {"fold_trials": len(tables.trials), "reports": len(tables.curves)}
    return {**rows, "seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def report(run: Path) -> dict[str, Any]:
    wall = time.perf_counter()
    subprocess.run([sys.executable, "-m", "analysis", "report", str(run)], cwd=HOME, check=True, capture_output=True)
    seconds = time.perf_counter() - wall
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    page = run / "analysis" / "report.html"
    timings = {"seconds": seconds, "cpu_seconds": cpu.ru_utime + cpu.ru_stime, "mb": page.stat().st_size / 2**20}
    return {**timings, "open_seconds": open_seconds(page)}


def open_seconds(page: Path) -> float | None:
    """Time until the page is complete, by the browser's clock, without the start of the browser."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        return None
    clock = "<script>addEventListener('load',()=>setTimeout(()=>document.title='ready '+performance.now(),0))</script>"
    with tempfile.TemporaryDirectory() as folder:
        timed = Path(folder) / "timed.html"
        timed.write_text(page.read_text() + clock)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900", "--dump-dom"]
        seconds = []
        for _ in range(3):
            done = subprocess.run([browser, *flags, timed.as_uri()], check=True, capture_output=True, text=True)
            found = re.search(r"<title>ready ([\d.]+)</title>", done.stdout)
            seconds.append(float(found[1]) / 1e3 if found else float("nan"))
        return statistics.median(seconds)


PARTS = {"read": read, "report": report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=int, default=1000, help=f"configs, each on {FOLDS} folds")
    parser.add_argument("--reports", type=int, default=100, help="reports per fold trial")
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/large_runs_cpu2.json")
    parser.add_argument("--part", nargs=2, metavar=("PART", "RUN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, run = options.part
        print(json.dumps(PARTS[name](Path(run))))
        return
    large = RANGES.replace("count: 30", f"count: {options.configs}").replace("folds: 3", "folds: {folds}")
    steps = tuple(120 * number for number in range(1, options.reports + 1))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            "full grid": write_run(Path(folder) / "grid", GRID, scheduler="grid", folds=FOLDS, steps=steps),
            "large": write_run(Path(folder) / "large", large, scheduler="grid", folds=FOLDS, steps=steps),
        }
        for run_name, run in runs.items():
            for part in PARTS:
                say(f"{run_name}: {part}")
                command = [sys.executable, __file__, "--part", part, str(run.folder)]
                done = subprocess.run(command, cwd=HOME, check=True, capture_output=True, text=True)
                rows.append({"run": run_name, "part": part, **json.loads(done.stdout.splitlines()[-1])})
    command = f"python benchmarks/large_runs.py --configs {options.configs} --reports {options.reports}"
    write_json(options.out, {"command": command, "commit": commit(), "machine": machine(), "parts": rows})
    print_table(rows, "time to read a run, to write its report and to open the page")


if __name__ == "__main__":
    main()
