"""The training: learning curves, where and why each ended, and the table of all folds."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from analysis.answer.selection import Selection
from analysis.report.figure import (
    FAILED,
    MUTED,
    OTHER,
    SET,
    WINNER,
    Figure,
    Markup,
    Section,
    axis,
    label,
    sentence,
    values_of,
)
from search.runs.run_tables import RunTables
from trainable.printing import plural

THIN = 240  # curves drawn
POINTS = 40  # of each
ENDS = 1200  # marks of where curves ended
ROWS = 80  # configs in the fold table
CURVES = {"done": ("at full length", SET), "running": ("running", MUTED), "paused": ("paused", OTHER)}
ENDED = {"paused": ("paused here", OTHER, "circle"), "failed": ("failed here", FAILED, "x")}


def learning(tables: RunTables, selection: Selection) -> Section:
    if tables.curves.empty:
        return Section("curves", "Learning curves", [Markup("<p>There are no reports yet.</p>")])
    return Section("curves", "Learning curves", [_curves(tables, selection), _stops(tables)])


def folds(tables: RunTables, selection: Selection) -> Section:
    """Configs x folds: the score, or the progress and the reason why it was stopped."""
    score = selection.effects.table["score"].reindex(tables.configs["config"])
    order = [str(each) for each in score.sort_values(ascending=False, na_position="last", kind="stable").index]
    if selection.winner is not None:
        order = [selection.winner.config, *(each for each in order if each != selection.winner.config)]
    cells = {(row.config, row.fold): row for row in tables.trials.itertuples()}
    values = tables.configs.set_index("config")[tables.parameters].to_dict("index")
    low, high = tables.trials["full"].min(), tables.trials["full"].max()
    head = "".join(f"<th>{escape(name)}</th>" for name in ("config", *tables.parameters))
    head += "".join(f"<th>fold {fold}</th>" for fold in range(tables.folds))
    body = []
    for config in order[:ROWS]:
        kind = "winner" if config == order[0] and selection.winner else "set" if config in selection.peers else ""
        cells_html = "".join(f"<td>{label(value)}</td>" for value in values[config].values())
        cells_html += "".join(_fold(cells.get((config, fold)), low, high) for fold in range(tables.folds))
        body.append(f'<tr class="{kind}"><td class="id">{escape(config)}</td>{cells_html}</tr>')
    states = tables.trials["state"].value_counts()
    counted = ", ".join(f"{number:,} {state}" for state, number in states.items()) or "no fold trial started"
    rest = f" The best {ROWS} of {len(order):,} configs are shown." if len(order) > ROWS else ""
    grid = len(order) * tables.folds
    title = f"{plural(int((tables.trials['state'] == 'done').sum()), 'fold trial')} of {grid:,} ran to full length"
    caption = (
        f"Scores at full length, a stronger colour is better; otherwise the progress (hover for the reason). "
        f"n: {counted}, {grid - len(tables.trials):,} not started.{rest}"
    )
    html = (
        f'<figure class="wide"><h3>{escape(title)}</h3><div class="scroll" tabindex="0"><table class="folds"><thead>'
        "<tr>"
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div><figcaption>{escape(caption)}</figcaption></figure>"
    )
    return Section("folds", "Folds", [Markup(html)])


def _fold(row: Any, low: float, high: float) -> str:
    if row is None:
        return '<td class="never"></td>'
    reason = escape(str(row.reason), quote=True)
    if not math.isnan(row.full):
        share = 100 if high <= low else round(12 + 60 * (row.full - low) / (high - low))
        return f'<td class="done" style="--share:{share}%" title="{reason}">{row.full:.4f}</td>'
    if row.state == "failed":
        return f'<td class="failed" title="{reason}">× failed</td>'
    return f'<td class="{escape(row.state)}" title="{reason}">{escape(row.state)} {row.step / max(1, row.of):.0%}</td>'


def _curves(tables: RunTables, selection: Selection) -> Figure:
    trials = tables.trials[tables.trials["step"] > 0]
    winner = "" if selection.winner is None else selection.winner.config
    shown = _thinned(trials, [winner, *selection.peers])
    curves = dict(iter(tables.curves.groupby(["config", "fold"])))
    traces = []
    for state, (name, colour) in CURVES.items():
        cells = shown[(shown["state"] == state) & (shown["config"] != winner)]
        traces += _lines(curves, cells, name, colour, 1.0) if len(cells) else []
    cells = shown[shown["config"] == winner]
    traces += _lines(curves, cells, "the winner", WINNER, 2.5) if len(cells) else []
    values = tables.configs.set_index("config")[tables.parameters].to_dict("index")
    for state, (name, colour, symbol) in ENDED.items():
        ended = trials[trials["state"] == state]
        ended = ended.iloc[:: max(1, math.ceil(len(ended) / ENDS))]
        if len(ended):
            traces.append(_ends(ended, values, tables.parameters, name, colour, symbol))
    finished, began = int((trials["state"] == "done").sum()), len(trials)
    title = f"{finished:,} of {plural(began, 'fold trial')} ran to the end"
    title += "; marks show where the others were stopped" if finished < began else ""
    drawn = (
        f"{len(shown):,} of {began:,} curves are drawn, the winner's and the set's first" if len(shown) < began else ""
    )
    what = "Each line is a fold trial; hover over a mark for its config and reason"
    caption = f"{what}. n = {plural(began, 'fold trial')}. {drawn}"
    steps = axis("training steps", rangemode="tozero")
    return Figure(
        "curves", title, caption, traces, {"xaxis": steps, "yaxis": axis(f"{tables.metric} of the fold")}, 440
    )


def _thinned(trials: pd.DataFrame, first: Sequence[str]) -> pd.DataFrame:
    """The curves of the winner and of the set, and an even selection of the others."""
    chosen = trials[trials["config"].isin(first)].head(THIN)
    others = trials.drop(chosen.index)
    left = THIN - len(chosen)
    return pd.concat([chosen, others.iloc[:: max(1, math.ceil(len(others) / left))] if left else others.head(0)])


def _lines(
    curves: dict[Any, pd.DataFrame], cells: pd.DataFrame, name: str, colour: str, width: float
) -> list[dict[str, Any]]:
    """All curves of one kind as one trace, separated by gaps."""
    x: list[float] = []
    y: list[float] = []
    for config, fold in zip(cells["config"], cells["fold"], strict=True):
        curve = curves[config, fold]
        every = max(1, math.ceil(len(curve) / POINTS))
        steps, scores = curve["step"].tolist(), curve["score"].tolist()
        x += [*steps[:-1:every], steps[-1], math.nan]
        y += [*scores[:-1:every], scores[-1], math.nan]
    style = {"color": colour, "width": width}
    trace = {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": style, "hoverinfo": "skip"}
    return [trace]


def _ends(
    ended: pd.DataFrame, values: dict[Any, Any], names: list[str], name: str, colour: str, symbol: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": ended["step"].tolist(),
        "y": [0.0 if math.isnan(score) else score for score in ended["score"]],
        "marker": {"color": colour, "symbol": symbol, "size": 7, "line": {"width": 1, "color": MUTED}},
        "text": [
            f"<b>{row.config}</b>, fold {row.fold}<br>{values_of(values[row.config], names)}<br>{label(row.reason)}"
            for row in ended.itertuples()
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _stops(tables: RunTables) -> Figure | Markup:
    """At which step fold trials were stopped."""
    stopped = tables.trials[tables.trials["state"].isin(["paused", "failed"])]
    if stopped.empty:
        return Markup("<p>No fold trial was stopped early.</p>")
    counted = stopped.groupby(["step", "state"]).size().unstack(fill_value=0)
    of = int(tables.trials["of"].max())
    if len(counted) == 1:
        step, number = counted.index[0], len(stopped)
        return sentence(f"Fold trials stopped early: {number}, all at step {step} of {of}.")
    traces = [
        {
            "type": "bar",
            "name": state,
            "x": [f"{step}" for step in counted.index],
            "y": counted[state].tolist(),
            "marker": {"color": FAILED if state == "failed" else OTHER},
            "hovertemplate": "step %{x}: %{y} " + state + "<extra></extra>",
        }
        for state in counted.columns
    ]
    most = counted.sum(axis=1).idxmax()
    title = f"Most stops came at step {most} of {of}: {int(counted.sum(axis=1).max())} of {len(stopped)}"
    example = stopped[stopped["step"] == most]["reason"].iloc[0]
    caption = f"n = {plural(len(stopped), 'stopped fold trial')}. Example of a reason: {example or 'none'}."
    layout = {
        "xaxis": axis("step of the last report", type="category"),
        "yaxis": axis("fold trials"),
        "barmode": "stack",
    }
    return Figure("stops", title, caption, traces, layout, 280)
