"""Parameters with a range: the score along each, and over pairs."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.answer.selection import Selection
from analysis.report.figure import INK, LINE, OTHER, SCALE, SET, WINNER, Figure, Section, axis, label, values_of
from search.race.mixed_model import Array
from search.runs.run_tables import RunTables
from spaces.schema.parameters import Range
from trainable.printing import plural, value_text

FEWEST = 20  # configs with a score: with fewer, no region is called the best, and no surface is drawn
GRID, WIDTH = 28, 0.16  # resolution of the surface, and width of the kernel as a share of a range
CONTOURS = 3


def ranges(tables: RunTables, selection: Selection) -> Section | None:
    """None if no parameter has a range."""
    ranges = [p for p in tables.space.ranges if p.name in tables.parameters]
    known = _scored(tables, selection)
    ranges = [p for p in ranges if known[p.name].nunique() > 1]
    if not ranges:
        return None
    pairs = [pair for pair in combinations(ranges, 2) if len(known.dropna(subset=[p.name for p in pair])) >= FEWEST]
    contours = [_contour(tables, known, *pair) for pair in pairs[:CONTOURS]]
    return Section("ranges", "Along the ranges", [*(_slice(tables, selection, known, p) for p in ranges), *contours])


def _scored(tables: RunTables, selection: Selection) -> pd.DataFrame:
    scores = selection.standings()[["expected", "folds"]].rename(columns={"expected": "score"})
    return scores.join(tables.configs.set_index("config")[tables.parameters])


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
        "customdata": rows.index.tolist(),
        "text": [
            f"<b>{label(config)}</b><br>{values_of(row, tables.parameters)}"
            for config, row in rows.to_dict("index").items()
        ],
        "hovertemplate": "%{text}<br>%{y:.4g}<extra></extra>",
        "showlegend": False,
    }
    title = f"{name}: {plural(len(rows), 'config')}, too few to say where it is best ({FEWEST} are needed)"
    if len(rows) >= FEWEST:
        fifth = len(rows) // 5
        top = (rows.nsmallest if tables.minimize else rows.nlargest)(fifth, "score")[name].astype(float)
        title = f"{name}: the best fifth lies between {value_text(top.min())} and {value_text(top.max())}"
    caption = "Expected mean of each config; orange is the winner, blue cannot be distinguished from it. "
    caption += f"n = {plural(len(rows), 'config')}."
    layout = {"xaxis": _scale(parameter), "yaxis": axis(f"{tables.score_label}, expected")}
    return Figure(f"slice-{name}", title, caption, [trace], layout, 300, half=True)


def _contour(tables: RunTables, known: pd.DataFrame, one: Range, other: Range) -> Figure:
    rows = known.dropna(subset=[one.name, other.name])
    x, y = rows[one.name].to_numpy(float), rows[other.name].to_numpy(float)
    grid = [_unscale(np.linspace(0, 1, GRID), p) for p in (one, other)]
    surface = _surface(np.c_[_unit(x, one), _unit(y, other)], rows["score"].to_numpy(float))
    best = np.unravel_index(int((np.nanargmin if tables.minimize else np.nanargmax)(surface)), surface.shape)
    contour = {
        "type": "contour",
        "x": grid[0],
        "y": grid[1],
        "z": surface,
        "colorscale": SCALE,
        "reversescale": tables.minimize,
        "line": {"width": 0.5, "color": LINE},
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".4~g"},
        "hovertemplate": "%{x:.4~g}, %{y:.4~g}: %{z:.4g}<extra></extra>",
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
    title = f"{one.name} x {other.name}: best near {grid[0][best[1]]:.2g} and {grid[1][best[0]]:.2g}"
    caption = (
        f"Expected {tables.score_label}, smoothed with a Gaussian of {WIDTH:.0%} of each range; dots are "
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
    if parameter.log:
        values, low, high = np.log(values), math.log(low), math.log(high)
    return np.asarray((values - low) / ((high - low) or 1.0))


def _unscale(shares: Array, parameter: Range) -> Array:
    if parameter.log:
        return np.asarray(parameter.low * (parameter.high / parameter.low) ** shares)
    return np.asarray(parameter.low + (parameter.high - parameter.low) * shares)


def _scale(parameter: Range) -> dict[str, Any]:
    if parameter.log:
        every = "D2" if parameter.high < 50 * parameter.low else 1  # 1, 2 and 5 of each decade, or only its start
        return axis(f"{label(parameter.name)} (log scale)", type="log", tickformat=".0e", dtick=every)
    return axis(label(parameter.name))
