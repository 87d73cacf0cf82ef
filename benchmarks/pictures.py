"""Draw the pictures of the README and the documentation from the recorded curves of a real grid; needs Chromium.

    python benchmarks/pictures.py [TABLE]

TABLE holds all curves of benchmarks/reduced_grid.yaml. A fold race on it, driven as a search drives it but with the
recorded reports instead of training, writes the run that the terminal, the live page and the report show.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import plotly.graph_objects as go
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.report.png import find_browser
from search.commands.launch_record import record_launch
from search.policies.contract import Policy
from search.policies.foldrace import FoldRace
from search.policies.registry import policy_of
from search.replay.curve_tables import read_table
from search.replay.recorded_study import RecordedStudy
from search.replay.simulation import simulate
from search.runs.journal import Journal
from search.runs.run_folder import Run
from search.runs.status import Status
from search.runs.study import Study, entrant_of
from search.terminal.snapshot import Size, draw, take_snapshot
from spaces.load import load_space
from tests.support.browser import opened_browser
from trainable.printing import say

HOME = Path(__file__).parents[1]
OUT = HOME / "docs" / "pictures"
SPACE, TABLE = HOME / "benchmarks" / "reduced_grid.yaml", HOME / "benchmarks" / "tables" / "reduced_grid.parquet"
WORKERS = 8
PATIENCE = 300_000  # ms for the first report of a run
TERMINAL = Size(116, 30)
FONT = {"family": "Helvetica, Arial, sans-serif", "size": 14}
GREEN, AMBER, GREY, BLUE = "#2a9d5c", "#e9a23b", "#d9dce1", "#2b6cb0"


def race_recorded(study: RecordedStudy, folder: Path) -> Run:
    """The run that the fold race leaves, with the times at which it would have happened on some workers."""
    space = load_space(SPACE, ["scheduler=foldrace"])
    run, policy = Run(folder), policy_of(space)
    folder.mkdir(parents=True)
    record_launch(run, space, None)
    began = time.time()
    with Journal(run.journal, lambda: began + policy.score_table.spent / WORKERS) as journal:
        recorded = Study(policy, journal)
        recorded.begin(host="workstation", pid=1)
        recorded.trains_on("CPU")
        for point in space.configs():
            run.record_config(point)
            recorded.add(entrant_of(point))
        simulate(cast(Policy, recorded), study.curves, WORKERS)
        journal.append("end", reason="every job is done")
    return run


@contextmanager
def still_running(run: Run) -> Iterator[None]:
    """The run as it was when the first config had all folds, with a driver."""
    status = Status(policy_of(run.space()))
    for line in run.lines():
        status.note(line)
        if line.kind == "report" and status.score_table.complete(line.fields["config"]):
            break
    lines = run.journal.read_text().splitlines(keepends=True)
    run.journal.write_text("".join(lines[: line.number]))
    with Journal(run.journal):
        yield
    run.journal.write_text("".join(lines))


def terminal(run: Run) -> None:
    """The live view at one moment of a past run, from its journal."""
    lines = run.lines()
    status = Status(policy_of(run.space()))
    for line in lines:
        status.note(line)
    status.set_driven(driven=True)
    console = Console(record=True, width=TERMINAL.width, file=io.StringIO(), color_system="truecolor")
    for text in draw(take_snapshot(status, run.name, TERMINAL.configs), status.elapsed(line.at), TERMINAL):
        console.print(text)
    console.save_svg(str(OUT / "watch.svg"), title=f"python -m search launch {run.name}")


def live(run: Run) -> None:
    """The live page of a run, from the server."""
    command = [sys.executable, "-m", "analysis", "serve", "--runs", run.root, "--port", "0", "--no-token"]
    with subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True) as server, opened_browser() as browser:
        try:
            assert server.stdout is not None
            page = browser.new_page(viewport={"width": 1280, "height": 1010})
            page.goto(f"{server.stdout.readline().strip()}run/{run.name}", timeout=PATIENCE)
            for drawn in ("#strip .state", "[data-figure=configs] .trace"):
                page.wait_for_selector(drawn, timeout=PATIENCE)
            page.screenshot(path=OUT / "live.png")
        finally:
            server.terminate()
    compress(OUT / "live.png")


def report(run: Run) -> None:
    """The configs of the report: parallel coordinates and the table."""
    subprocess.run([sys.executable, "-m", "analysis", "report", str(run.folder)], cwd=HOME, check=True)
    with opened_browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1140})
        page.goto((run.folder / "analysis" / "report.html").as_uri(), timeout=PATIENCE)
        page.wait_for_selector("#table tbody tr", timeout=PATIENCE)
        page.evaluate("document.getElementById('configs').scrollIntoView({behavior: 'instant'})")
        page.screenshot(path=OUT / "report.png")
    compress(OUT / "report.png")


def race(study: RecordedStudy) -> None:
    """What the fold race trains of a grid, and the curves of its first fold."""
    policy = FoldRace(study.entrants, study.folds)
    usage = simulate(policy, study.curves, WORKERS)
    cost = f"{100 * usage.seconds / study.seconds:.0f} % of the grid's time"
    figure(cells(study, policy, cost), "race", 900, 520)
    figure(rungs(study, policy), "rung", 900, 480)


def cells(study: RecordedStudy, policy: FoldRace, cost: str) -> go.Figure:
    means = study.means()
    ranked = sorted(means, key=lambda config: -means[config])
    horizon = {entrant.config: entrant.horizon for entrant in study.entrants}
    trained = [
        [max(policy.score_table.curve(config, fold), default=0) / horizon[config] for config in ranked]
        for fold in range(study.folds)
    ]
    winner_is_best = policy.answer().winner == ranked[0]
    title = f"What the fold race trained: {cost}; the winner {'is' if winner_is_best else 'is not'} the grid's best"
    heatmap = go.Heatmap(
        z=trained,
        x=list(range(1, len(ranked) + 1)),
        y=[f"fold {fold}" for fold in range(study.folds)],
        colorscale=[[0, GREY], [0.499, GREY], [0.5, AMBER], [0.99, AMBER], [0.995, GREEN], [1, GREEN]],
        xgap=1,
        ygap=2,
        showscale=False,
    )
    chart = go.Figure(heatmap)
    chart.update_layout(title=title, yaxis={"autorange": "reversed"})
    chart.update_xaxes(title=f"{len(ranked)} configurations, by their mean over all folds, best first")
    for name, colour in (("complete fold", GREEN), ("paused at a rung", AMBER), ("not started", GREY)):
        chart.add_scatter(x=[None], y=[None], mode="markers", name=name, marker={"color": colour, "symbol": "square"})
    return chart


def rungs(study: RecordedStudy, policy: FoldRace) -> go.Figure:
    """The curves of the first fold: paused at a rung, complete, and the winner."""
    chart, winner = go.Figure(), policy.answer().winner
    groups: dict[str, list[str]] = {"paused at a rung": [], "complete": [], "the winner": []}
    for entrant in study.entrants:
        complete = policy.score_table.full(entrant.config, 0) is not None
        group = "the winner" if entrant.config == winner else "complete" if complete else "paused at a rung"
        groups[group].append(entrant.config)
    for (name, configs), colour, width in zip(groups.items(), (AMBER, GREEN, BLUE), (1, 1, 3), strict=True):
        for number, config in enumerate(configs):
            curve = policy.score_table.curve(config, 0)
            chart.add_scatter(
                x=list(curve),
                y=list(curve.values()),
                mode="lines",
                line={"color": colour, "width": width},
                name=f"{name} ({len(configs)})" if len(configs) > 1 else name,
                showlegend=number == 0,
            )
    steps = [study.entrants[0].step_at(each) for each in policy.rungs]
    for step in steps:
        chart.add_vline(x=step, line={"dash": "dot", "color": "#6b7280"})
    chart.update_layout(title=f"Fold 0 of every configuration, with rungs at steps {', '.join(map(str, steps))}")
    chart.update_xaxes(title="step")
    chart.update_yaxes(title="mIoU")
    return chart


def figure(chart: go.Figure, name: str, width: int, height: int) -> None:
    chart.update_layout(
        template="plotly_white",
        font=FONT,
        legend={"orientation": "h", "y": -0.22},
        width=width,
        height=height,
        margin={"t": 60, "l": 80, "r": 30, "b": 90},
    )
    chart.update_yaxes(ticks="outside", ticklen=6, tickcolor="white")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, f"{name}.html")
        chart.write_html(page, config={"staticPlot": True}, include_plotlyjs=True)
        screenshot(page.as_uri(), OUT / f"{name}.png", width + 16, height + 16)


def screenshot(address: str, picture: Path, width: int, height: int) -> None:
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=60000"]
        window = [f"--window-size={width},{height}", "--force-device-scale-factor=1.5", f"--user-data-dir={profile}"]
        command = [find_browser(), *flags, *window, f"--screenshot={picture}", address]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    compress(picture)


def compress(picture: Path) -> None:
    """Leave at most 256 colours, which is what charts and text need."""
    from PIL import Image

    with Image.open(picture) as drawn:
        drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(picture, optimize=True)
    say(f"{picture}: {picture.stat().st_size / 1024:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path, default=TABLE, help="curves as written by search curves")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    study = read_table(options.table)
    race(study)
    with tempfile.TemporaryDirectory() as folder:
        run = race_recorded(study, Path(folder) / "runs" / "reduced_grid")
        with still_running(run):
            terminal(run)
            live(run)
            report(run)


if __name__ == "__main__":
    main()
