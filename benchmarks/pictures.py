"""Draw the pictures of the README and the documentation from runs and recorded curves; needs Chromium.

    python benchmarks/pictures.py RUN REPORTED TABLE

The picture of the terminal shows RUN at one moment. The picture of the report shows the first screen of the report of
REPORTED, which must exist (python -m analysis report REPORTED). TABLE holds all curves of a grid; the figures that
explain the fold race show a replay on it. Check the pictures before committing: the first screen must not show images
of the data.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import plotly.graph_objects as go
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.report.png import find_browser
from search.policies.foldrace import FoldRace
from search.policies.registry import policy_of
from search.replay.curve_tables import read_table
from search.replay.recorded_study import RecordedStudy
from search.replay.simulation import simulate
from search.run_storage.find_runs import find_run
from search.runs.status import Status
from search.terminal.snapshot import Size, draw, take_snapshot
from trainable.printing import say

OUT = Path(__file__).parents[1] / "docs" / "pictures"
WORKERS = 8
TERMINAL = Size(116, 30)
FONT = {"family": "Helvetica, Arial, sans-serif", "size": 14}
GREEN, AMBER, GREY, BLUE = "#2a9d5c", "#e9a23b", "#d9dce1", "#2b6cb0"


def terminal(name: str, root: str, share: float) -> None:
    """The live view at one moment of a past run, from its journal."""
    run = find_run(name, root)
    lines = run.lines()
    status = Status(policy_of(run.space()))
    for line in lines[: int(share * len(lines))]:
        status.note(line)
    status.set_driven(driven=True)
    console = Console(record=True, width=TERMINAL.width, file=io.StringIO(), color_system="truecolor")
    for text in draw(take_snapshot(status, run.name, TERMINAL.configs), status.elapsed(line.at), TERMINAL):
        console.print(text)
    console.save_svg(str(OUT / "watch.svg"), title=f"python -m search launch {run.name}")


def report(name: str, root: str) -> None:
    """The first screen of the report in a browser."""
    page = find_run(name, root).folder / "analysis" / "report.html"
    screenshot(page, OUT / "report.png", 1280, 926)


def race(table: Path) -> None:
    """What the fold race trains of a grid, and the curves with its rungs."""
    study = read_table(table)
    policy = FoldRace(study.entrants, study.folds)
    usage = simulate(policy, study.curves, WORKERS)
    cost = f"{100 * usage.seconds / study.seconds:.0f} % of the grid's time"
    figure(cells(study, policy, cost), "race", 900, 520)
    figure(rung(study, policy), "rung", 900, 480)


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
        colorscale=[[0, GREY], [0.001, GREY], [0.002, AMBER], [0.999, AMBER], [0.9999, GREEN], [1, GREEN]],
        zmin=0,
        zmax=1,
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


def rung(study: RecordedStudy, policy: FoldRace) -> go.Figure:
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
    for share in policy.rungs:
        chart.add_vline(
            x=study.entrants[0].step_at(share),
            line={"dash": "dot", "color": "#6b7280"},
            annotation={"text": f"{share:.1%}", "yanchor": "bottom"},
            annotation_position="bottom left",
        )
    chart.update_layout(title="Fold 0 of every configuration, and the rungs at which the worst pause")
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
        screenshot(page, OUT / f"{name}.png", width + 16, height + 16)


def screenshot(page: Path, picture: Path, width: int, height: int) -> None:
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=60000"]
        window = [f"--window-size={width},{height}", "--force-device-scale-factor=1.5", f"--user-data-dir={profile}"]
        command = [find_browser(), *flags, *window, f"--screenshot={picture}", page.absolute().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    say(f"{picture}: {picture.stat().st_size / 1024:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run: its name or its folder")
    parser.add_argument("reported", help="a run with a report")
    parser.add_argument("table", type=Path, help="curves as written by search curves")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--share", type=float, default=0.8, help="share of the records that the terminal shows")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    terminal(options.run, options.runs, options.share)
    report(options.reported, options.runs)
    race(options.table)


if __name__ == "__main__":
    main()
