"""Parameters with a range: the score along each, over pairs, and along all of them together."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.answer.selection import Selection
from analysis.report.figure import INK, LINE, OTHER, SCALE, SET, WINNER, Figure, Section, axis, label, values_of
from search.race.mixed_model import Array
from search.runs.run_tables import RunTables
from spaces.schema.parameters import Range
from trainable.printing import plural

FEWEST = 8  # configs needed for a surface
GRID, WIDTH = 28, 0.16  # resolution of the surface, and width of the kernel as a share of a range
CONTOURS = 3
THIN = 300  # lines in the parallel coordinates


def ranges(tables: RunTables, selection: Selection) -> Section | None:
    """None if no parameter has a range."""
    ranges = [p for p in tables.space.ranges if p.name in tables.parameters]
    known = _scored(tables, selection)
    ranges = [p for p in ranges if known[p.name].nunique() > 1]
    if not ranges:
        return None
    contours = (
        [_contour(tables, known, *pair) for pair in combinations(ranges, 2)][:CONTOURS] if len(known) >= FEWEST else []
    )
    return Section("ranges", "Along the ranges", [*(_slice(tables, selection, known, p) for p in ranges), *contours])


def parallel(tables: RunTables, selection: Selection) -> Section | None:
    """Parallel coordinates, drawn as lines because plotly's own need WebGL and cannot be printed."""
    known = _scored(tables, selection)
    names = [name for name in tables.parameters if known[name].map(str).nunique() > 1]
    if not names or len(known) < 2:
        return None
    places = {name: _places(tables, known[name], name) for name in names}
    scores = known["score"]
    span = float(scores.max() - scores.min()) or 1.0
    heights = pd.DataFrame({name: [places[name](value) for value in known[name]] for name in names}, index=known.index)
    heights["score"] = (scores - scores.min()) / span
    winner = None if selection.winner is None else selection.winner.config
    best = known.sort_values("score", ascending=False).index
    shown = list(
        dict.fromkeys(
            [*best[:: max(1, math.ceil(len(known) / THIN))], *(each for each in selection.peers if each in known.index)]
        )
    )
    groups = (
        ("the others", OTHER, 1.0, [each for each in shown if each not in selection.peers]),
        (
            "cannot be distinguished from the winner",
            SET,
            1.5,
            [each for each in selection.peers if each != winner][:THIN],
        ),
        ("the winner", WINNER, 3.5, [each for each in [winner] if each in known.index]),
    )
    columns = [*names, "score"]
    traces = [
        _lines(name, colour, width, heights[columns].reindex(pd.Index(here)))
        for name, colour, width, here in groups
        if here
    ]
    words = [(x, at, text) for x, name in enumerate(names) for at, text in _ticks(known[name], places[name])]
    words += [(len(names), 0.0, f"{scores.min():.4f}"), (len(names), 1.0, f"{scores.max():.4f}")]
    layout = {
        "xaxis": {
            "tickvals": list(range(len(columns))),
            "ticktext": [*(label(name) for name in names), label(tables.metric)],
            "range": [-0.25, len(names) + 0.35],
            "showgrid": False,
        },
        "yaxis": {"visible": False, "range": [-0.08, 1.08]},
        "shapes": [_upright(x) for x in range(len(columns))],
        "annotations": [_tick(*each) for each in words],
    }
    caption = (
        "Each line is a config, from the values of its parameters to its expected score at the right. "
        f"n = {plural(len(known), 'config')}"
        + (f", of which {plural(len(shown), 'line')} are drawn." if len(shown) < len(known) else ".")
    )
    title = "Values of the winner, of the set, and of all configs"
    return Section(
        "parallel",
        "All parameters at once",
        [Figure("parallel", title, caption, traces, layout, 420, 110 * len(columns))],
    )


def _scored(tables: RunTables, selection: Selection) -> pd.DataFrame:
    scores = selection.effects.table[["score", "folds"]]
    return scores.join(tables.configs.set_index("config")[tables.parameters]).dropna(subset=["score"])


def _slice(tables: RunTables, selection: Selection, known: pd.DataFrame, parameter: Range) -> Figure:
    name = parameter.name
    rows = known.dropna(subset=[name])
    inset = rows.index.isin(selection.peers)
    colours = [SET if each else OTHER for each in inset]
    if selection.winner is not None and selection.winner.config in rows.index:
        colours[rows.index.get_loc(selection.winner.config)] = WINNER
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": rows[name].astype(float).tolist(),
        "y": rows["score"].tolist(),
        "marker": {"color": colours, "size": 8, "opacity": 0.85},
        "text": [values_of(row, tables.parameters) for row in rows.to_dict("records")],
        "hovertemplate": "%{text}<br>%{y:.4f}<extra></extra>",
        "showlegend": False,
    }
    top = rows.nlargest(max(2, len(rows) // 5), "score")[name].astype(float)
    title = f"{name}: the best fifth lies between {top.min():.3g} and {top.max():.3g}"
    caption = "Expected mean of each config; orange is the winner, blue cannot be distinguished from it. "
    caption += f"n = {plural(len(rows), 'config')}."
    layout = {"xaxis": _scale(parameter), "yaxis": axis(f"{tables.metric}, expected")}
    return Figure(f"slice-{name}", title, caption, [trace], layout, 300, half=True)


def _contour(tables: RunTables, known: pd.DataFrame, one: Range, other: Range) -> Figure:
    rows = known.dropna(subset=[one.name, other.name])
    x, y = rows[one.name].to_numpy(float), rows[other.name].to_numpy(float)
    grid = [_unscale(np.linspace(0, 1, GRID), p) for p in (one, other)]
    surface = _surface(np.c_[_unit(x, one), _unit(y, other)], rows["score"].to_numpy(float))
    best = np.unravel_index(int(np.nanargmax(surface)), surface.shape)
    contour = {
        "type": "contour",
        "x": grid[0],
        "y": grid[1],
        "z": surface,
        "colorscale": SCALE,
        "line": {"width": 0.5, "color": LINE},
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".3f"},
        "hovertemplate": "%{x:.3g}, %{y:.3g}: %{z:.4f}<extra></extra>",
    }
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "marker": {"color": INK, "size": 4},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    title = f"{one.name} x {other.name}: highest near {grid[0][best[1]]:.2g} and {grid[1][best[0]]:.2g}"
    caption = (
        f"Expected {tables.metric}, smoothed with a Gaussian of {WIDTH:.0%} of each range; dots are "
        f"configs, regions far from them are empty. n = {plural(len(rows), 'config')}."
    )
    layout = {"xaxis": _scale(one), "yaxis": _scale(other)}
    return Figure(f"contour-{one.name}-{other.name}", title, caption, [contour, dots], layout, 360, half=True)


def _surface(points: Array, scores: Array) -> Array:
    """Rows along the second parameter. NaN if no config is near."""
    at = np.linspace(0, 1, GRID)
    cells = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 1, 2)
    distances = ((cells - points[None]) ** 2).sum(-1)
    weights = np.exp(-distances / (2 * WIDTH**2))
    means = weights @ scores / np.maximum(weights.sum(1), 1e-300)
    means[distances.min(axis=1) > (1.5 * WIDTH) ** 2] = np.nan
    return np.asarray(means.reshape(GRID, GRID))


def _unit(values: Array, parameter: Range) -> Array:
    low, high = parameter.low, parameter.high
    if _log(parameter):
        values, low, high = np.log(values), math.log(low), math.log(high)
    return np.asarray((values - low) / ((high - low) or 1.0))


def _unscale(shares: Array, parameter: Range) -> Array:
    if _log(parameter):
        return np.asarray(parameter.low * (parameter.high / parameter.low) ** shares)
    return np.asarray(parameter.low + (parameter.high - parameter.low) * shares)


def _log(parameter: Range) -> bool:
    return parameter.log or parameter.distribution == "log_uniform"


def _scale(parameter: Range) -> dict[str, Any]:
    if _log(parameter):
        every = "D2" if parameter.high < 50 * parameter.low else 1  # 1, 2 and 5 of each decade, or only its start
        return axis(f"{label(parameter.name)} (log scale)", type="log", tickformat=".0e", dtick=every)
    return axis(label(parameter.name))


def _places(tables: RunTables, values: pd.Series[Any], name: str) -> Callable[[Any], float]:
    """The position of a value on its axis, 0 to 1; NaN interrupts the line if the parameter is not set."""
    parameter = tables.space.parameters.get(name)
    if isinstance(parameter, Range):
        return lambda value: float(_unit(np.array([float("nan") if value is None else value], float), parameter)[0])
    present = [value for value in dict.fromkeys(values) if not _unset(value)]
    if all(isinstance(value, int | float) for value in present):
        present = sorted(present)
    height = {str(value): place / max(1, len(present) - 1) for place, value in enumerate(present)}
    return lambda value: height.get(str(value), float("nan"))


def _unset(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _ticks(values: pd.Series[Any], place: Callable[[Any], float]) -> list[tuple[float, str]]:
    present = sorted({(place(value), label(value)) for value in values if not math.isnan(place(value))})
    return present if len(present) <= 6 else [present[0], present[-1]]


def _lines(name: str, colour: str, width: float, heights: pd.DataFrame) -> dict[str, Any]:
    count_ = heights.shape[1]
    y = np.c_[heights.to_numpy(float), np.full(len(heights), np.nan)].ravel()
    x = np.tile([*range(count_), np.nan], len(heights))
    style = {"color": colour, "width": width}
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": style, "hoverinfo": "skip"}


def _upright(x: int) -> dict[str, Any]:
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": {"color": LINE, "width": 1.5}, "layer": "below"}


def _tick(x: int, y: float, text: str) -> dict[str, Any]:
    style = {"showarrow": False, "xanchor": "left", "xshift": 4, "bgcolor": "$paper", "borderpad": 1, "opacity": 0.92}
    return {"x": x, "y": y, "text": text, "font": {"size": 11}, **style}
