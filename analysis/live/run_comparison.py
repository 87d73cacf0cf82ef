"""Runs side by side: their best scores, what it cost to reach a score, and their spaces."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from analysis.live.followed_run import Snapshot
from analysis.report.figure import Figure, Markup, Section, axis, duration, sentence, table
from analysis.report.page.page import Page
from trainable.printing import deviation, digits, plural, value_text

COLOURS = ("$a", "$b", "$c", "$d", "$set", "$winner", "$other")
LEVELS = 6  # scores in the table of costs
NOT_COMPARED = ("name", "references")
COMPARABLE = ("data", "folds", "fold_seed", "metric")  # scores of runs that differ in these cannot be compared


def comparison_page(runs: Sequence[Snapshot]) -> Page:
    known = [run for run in runs if run.space is not None]
    unread = [f"{run.name}: {run.problem or 'has not been read yet'}" for run in runs if run.space is None]
    warnings = [sentence(text) for text in [*unread, *_differences(known)]]
    first = Section("scores", "", [*warnings, _scores(known), _progress(known)])
    return Page(
        ", ".join(run.name for run in runs) if len(runs) < 6 else plural(len(runs), "run"),
        f"{plural(len(runs), 'run')} side by side",
        [
            first,
            Section("costs", "Cost to reach a score", [_costs(known)]),
            Section("spaces", "Spaces", [_spaces(known)]),
        ],
    )


def _differences(runs: Sequence[Snapshot]) -> list[str]:
    settings = [_settings(run) for run in runs]
    differ = [name for name in COMPARABLE if len({str(each.get(name)) for each in settings}) > 1]
    if not differ:
        return []
    return [f"Their scores are not comparable, because the runs differ in: {', '.join(differ)}."]


def _settings(run: Snapshot) -> dict[str, Any]:
    assert run.space is not None
    return {name: value for name, value in run.space.canonical().items() if name != "parameters"}


def _scores(runs: Sequence[Snapshot]) -> Markup:
    rows = [
        {
            "run": run.name,
            "state": run.state,
            "best config": run.leader or "–",
            "mean": "–" if math.isnan(run.mean) else digits(run.mean),
            "sd": "–" if math.isnan(run.sd) else deviation(run.sd, run.mean),
            "folds": run.folds,
            "configs": run.configs,
            "fold trials": sum(number for state, number in run.counts if state != "waiting"),
            "spent": duration(run.spent, run.device),
        }
        for run in runs
    ]
    return table(rows, "The best complete config, or before there is one the best that can be compared.")


def _progress(runs: Sequence[Snapshot]) -> Figure | Markup:
    """The best mean of a complete config, over the device time that had been spent by then."""
    shown = [run for run in runs if run.best]
    if not shown:
        return sentence("No config of these runs is complete yet.")
    hours = max(run.spent for run in shown) >= 5400
    scale, unit = (3600, "hours") if hours else (60, "minutes")
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": escape(run.name),
            "x": [spent / scale for spent, _ in run.best] + [run.spent / scale],
            "y": [mean for _, mean in run.best] + [run.best[-1][1]],
            "line": {"shape": "hv", "width": 2, "color": COLOURS[number % len(COLOURS)]},
            "marker": {"size": 5},
            "hovertemplate": f"{escape(run.name)}: %{{y:.4g}} after %{{x:.4g}} device-{unit}<extra></extra>",
        }
        for number, run in enumerate(shown)
    ]
    best = (min if _minimize(shown) else max)(shown, key=lambda run: run.best[-1][1])
    metric = _settings(best)["metric"]
    layout = {
        "xaxis": axis(f"device-{unit} spent", rangemode="tozero"),
        "yaxis": axis(f"best {metric['name']} so far"),
        "showlegend": True,
    }
    caption = f"The mean over all folds of the best config that was complete by then. n = {plural(len(shown), 'run')}."
    title = f"{best.name} reached the best mean, {digits(best.best[-1][1])}"
    return Figure("progress", title, caption, traces, layout, 380)


def _costs(runs: Sequence[Snapshot]) -> Markup:
    shown = [run for run in runs if run.best]
    if not shown:
        return sentence("No config of these runs is complete yet.")
    sign = -1 if _minimize(shown) else 1
    low, high = min(sign * run.best[0][1] for run in shown), max(sign * run.best[-1][1] for run in shown)
    levels = [sign * level for level in sorted({float(f"{level:.4g}") for level in np.linspace(low, high, LEVELS)})]
    rows = []
    for level in levels:
        reached = {
            run.name: next(
                (
                    duration(spent, run.device)
                    for spent, mean in run.best
                    if sign * float(f"{mean:.4g}") >= sign * level
                ),
                "not reached",
            )
            for run in shown
        }
        rows.append({"score": digits(level), **reached})
    return table(rows, "Device time until a config with this mean or a better one was complete on all folds.")


def _minimize(runs: Sequence[Snapshot]) -> bool:
    return all(_settings(run)["metric"]["goal"] == "minimize" for run in runs)


def _spaces(runs: Sequence[Snapshot]) -> Markup:
    columns = []
    for run in runs:
        assert run.space is not None
        fixed = run.space.canonical().get("parameters", {})
        values = {
            name: str(run.space.parameters[name]) if name in run.space.parameters else value_text(value)
            for name, value in fixed.items()
        }
        settings = {name: _text(value) for name, value in _settings(run).items() if name not in NOT_COMPARED}
        columns.append({**settings, **values})
    names = list(dict.fromkeys(name for column in columns for name in column))
    cells = {name: [column.get(name, "–") for column in columns] for name in names}
    order = sorted(names, key=lambda name: len(set(cells[name])) == 1)
    head = "".join(f"<th>{escape(each)}</th>" for each in ["", *(run.name for run in runs)])
    body = "".join(
        f'<tr class="{"same" if len(set(cells[name])) == 1 else ""}"><th>{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells[name])
        + "</tr>"
        for name in order
    )
    return Markup(
        f'<div class="scroll"><table class="spaces"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        '<p class="caption">What differs comes first.</p>'
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        words = (f"{name} {_text(each)}" if name != "name" else _text(each) for name, each in value.items() if each)
        return ", ".join(words) or "–"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "–"
    return "–" if value is None else value_text(value)
