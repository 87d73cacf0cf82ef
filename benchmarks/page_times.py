"""How fast the report answers a person, and how soon the live page shows what is new; needs Chromium and playwright.

    python benchmarks/page_times.py

The report is of 5,000 fold trials; the live page lists 20 runs of 360 fold trials each, of which one goes on. All are
generated, not trained. Writes results/page_times_cpu2.json and prints the same figures.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import commit, machine
from search.runs.run_folder import Run
from tests.support.browser import opened_browser
from tests.support.untrained_runs import GRID, RANGES, write_run
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
FOLDS, STEPS = 5, tuple(range(600, 12001, 600))
ACTS = {
    "sort": "document.querySelectorAll('#table th button')[1].click()",
    "brush": "state.brushes.dropout = [0.2, 0.6], update()",
    "filter": "byId('query').value = 'dropout>0.2', byId('query').dispatchEvent(new Event('input'))",
    "click": "document.querySelector('#table tbody tr').click()",
}
PATIENCE = 300_000  # ms for anything on a busy machine
TARGETS = {**dict.fromkeys(ACTS, 200), "first page of 20 runs": 1000, "update": 300}  # ms


def interactions(page: Any, repeats: int = 5) -> dict[str, list[float]]:
    """Milliseconds until a report has answered each act, with the layout that it causes."""
    timed = (
        "(() => {{ const at = performance.now(); {}; byId('table').offsetHeight; return performance.now() - at }})()"
    )
    return {name: [page.evaluate(timed.format(act)) for _ in range(repeats)] for name, act in ACTS.items()}


def write_runs(root: Path, number: int) -> tuple[Run, list[str]]:
    """Runs of the same complete grid; of the first, which is returned with all its lines, only some are written."""
    first = write_run(root / "run0", GRID, folds=FOLDS, scheduler="grid")
    lines = first.journal.read_text().splitlines(keepends=True)
    for other in range(1, number):
        (root / f"run{other}").mkdir()
        for name in ("space.yaml", "env.json", "journal.jsonl"):
            shutil.copy(first.folder / name, root / f"run{other}" / name)
    first.journal.write_text("".join(lines[:1000]))
    return first, lines


def first_pages(page: Any, address: str, runs: int, repeats: int = 5) -> list[float]:
    """Milliseconds until the list has a row for every run."""
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        page.goto(address)
        assert page.locator("#runs tr").count() == runs
        spent.append(1e3 * (time.perf_counter() - began))
    return spent


def updates(page: Any, run: Run, lines: Sequence[str], repeats: int = 5) -> list[float]:
    """Milliseconds from a report in the journal to its row on the page; the first may be of the stream's beginning."""
    added = f"changes.some(change => [...change.addedNodes].some(row => row.dataset.run === '{run.name}'))"
    observer = f"new MutationObserver(changes => {added} && seen.push(Date.now()))"
    page.evaluate(f"window.seen = [], {observer}.observe(byId('runs'), {{childList: true}})")
    delays = []
    for at in range(1000, 1000 + 10 * repeats, 10):
        before = page.evaluate("seen.length")
        with run.journal.open("a") as journal:
            journal.write("".join(lines[at : at + 10]))
        written = time.time()
        page.wait_for_function(f"seen.length > {before}")
        delays.append(page.evaluate("seen[seen.length - 1]") - 1e3 * written)
    return delays


@contextmanager
def served(root: Path) -> Iterator[str]:
    """The address of ``python -m analysis serve``."""
    command = [sys.executable, "-m", "analysis", "serve", "--runs", str(root), "--port", "0", "--no-token"]
    with subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def measured(browser: Any, folder: Path, configs: int, runs: int) -> dict[str, list[float]]:
    large = RANGES.replace("count: 30", f"count: {configs}").replace("folds: 3", "folds: {folds}")
    run = write_run(folder / "large", large, scheduler="grid", folds=FOLDS, steps=STEPS)
    say(f"writing the report of {configs * FOLDS:,} fold trials")
    subprocess.run([sys.executable, "-m", "analysis", "report", str(run.folder)], cwd=HOME, check=True)
    page = browser.new_page(viewport={"width": 1400, "height": 900}, bypass_csp=True)
    page.set_default_timeout(PATIENCE)
    page.goto((run.folder / "analysis" / "report.html").as_uri())
    page.wait_for_selector("body[data-ready]")
    found = interactions(page)
    first, lines = write_runs(folder / "runs", runs)
    with served(folder / "runs") as address:
        found[f"first page of {runs} runs"] = first_pages(page, address, runs)
        found["update"] = updates(page, first, lines)[1:]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=int, default=1000, help=f"configs of the report, each on {FOLDS} folds")
    parser.add_argument("--runs", type=int, default=20, help="runs on the live page")
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/page_times_cpu2.json")
    options = parser.parse_args()
    with opened_browser() as browser, tempfile.TemporaryDirectory() as folder:
        found = measured(browser, Path(folder), options.configs, options.runs)
    rows = [
        {
            "what": name,
            "first_ms": round(spent[0], 1),
            "median_ms": round(statistics.median(spent), 1),
            "worst_ms": round(max(spent), 1),
            "target_ms": TARGETS.get(name),
        }
        for name, spent in found.items()
    ]
    command = f"python benchmarks/page_times.py --configs {options.configs} --runs {options.runs}"
    write_json(options.out, {"command": command, "commit": commit(), "machine": machine(), "times": rows})
    print_table(rows, f"{options.configs * FOLDS:,} fold trials in the report, {options.runs} runs on the live page")
    return 0


if __name__ == "__main__":
    from trainable.exit_codes import run as guarded

    guarded(main)
