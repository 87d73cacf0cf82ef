"""The effect of each parameter: its levels, pairs of parameters crossed, and its importance."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.answer.selection import Selection
from analysis.report.figure import LINE, SCALE, SET, Figure, Markup, Section, axis, label, sentence
from analysis.statistics.importance import importance
from analysis.statistics.parameter_effects import cell_means, main_effects
from search.runs.run_tables import RunTables
from spaces.schema.parameters import Range
from trainable.printing import digits, plural

CROSSED = 3  # heat maps at most
FIRST = ("loss", "augmentation")  # crossed before any others


def ablations(tables: RunTables, selection: Selection) -> Section:
    effects = main_effects(selection.expected, _parameters(tables))
    span = _span(effects.table)
    blocks: list[Figure | Markup] = [
        _levels(tables, str(name), rows, span) for name, rows in effects.table.groupby("parameter", sort=False)
    ]
    blocks += [sentence(f"Not shown: {'; '.join(effects.not_estimated)}.")] if effects.not_estimated else []
    for row, column in _pairs(tables, effects.table):
        blocks.append(_heat_map(tables, selection, row, column))
    return Section("ablations", "Effects of the parameters", [*blocks, _importance(tables, selection)])


def _parameters(tables: RunTables) -> pd.DataFrame:
    return tables.configs.set_index("config")[tables.parameters]


def _span(effects: pd.DataFrame) -> list[float] | None:
    """Main effects, all parameters on the same scale."""
    if effects.empty:
        return None
    low, high = float(effects["low"].min()), float(effects["high"].max())
    margin = 0.08 * (high - low) or 0.001
    return [low - margin, high + margin]


def _levels(tables: RunTables, name: str, rows: pd.DataFrame, span: list[float] | None) -> Figure:
    labels = [label(level) for level in rows["level"]]
    values = tables.configs[name].dropna()
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    trace = {
        "type": "scatter",
        "mode": "lines+markers" if numeric else "markers",
        "x": labels,
        "y": rows["effect"].tolist(),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["effect"]).tolist(),
            "arrayminus": (rows["effect"] - rows["low"]).tolist(),
            "color": SET,
            "thickness": 2,
            "width": 5,
        },
        "line": {"color": LINE, "width": 2},
        "marker": {"color": SET, "size": 9},
        "text": [f"{row.configs} configs, {row.trials} full fold trials" for row in rows.itertuples()],
        "hovertemplate": "%{x}: %{y:+.4~g}<br>%{text}<extra></extra>",
        "showlegend": False,
    }
    n = ", ".join(f"{row.level}: {row.trials}" for row in rows.itertuples())
    layout = {
        "xaxis": axis(label(name), type="category"),
        "yaxis": axis(f"{tables.score_label}, difference<br>from the average", range=span, tickformat="+.4~g"),
    }
    caption = f"Main effect with 95 % interval, averaged over all other parameters. Fold trials at full length: {n}."
    return Figure(f"effect-{name}", _better(name, rows, tables.minimize), caption, [trace], layout, 300, half=True)


def _better(name: str, rows: pd.DataFrame, minimize: bool) -> str:
    highest, lowest = rows.iloc[int(rows["effect"].argmax())], rows.iloc[int(rows["effect"].argmin())]
    apart = highest["effect"] - lowest["effect"]
    if highest["low"] <= lowest["high"]:
        return f"{name}: no clear difference between levels; the largest is {digits(apart)}"
    best, worst, side = (lowest, highest, "below") if minimize else (highest, lowest, "above")
    return f"{name}: {best['level']} is best, {digits(apart)} {side} {worst['level']}"


def _pairs(tables: RunTables, effects: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of choices: loss x augmentation, then those whose levels differ most."""
    if effects.empty:
        return []
    spans = effects.groupby("parameter", sort=False)["effect"].agg(lambda column: column.max() - column.min())
    names = [str(name) for name in spans.sort_values(ascending=False).index]
    names = [name for name in names if not isinstance(tables.space.parameters.get(name), Range)]
    pairs = [pair for pair in combinations(names, 2) if _are_crossed(tables, *pair)]
    first = [FIRST] if set(FIRST) <= set(names) else []
    return [*first, *(pair for pair in pairs if set(pair) != set(FIRST))][:CROSSED]


def _are_crossed(tables: RunTables, one: str, other: str) -> bool:
    """Whether both vary among the configs that have both; a parameter of one method is not crossed with methods."""
    both = _parameters(tables)[[one, other]].dropna()
    return both[one].nunique() > 1 and both[other].nunique() > 1


def _heat_map(tables: RunTables, selection: Selection, row: str, column: str) -> Figure | Markup:
    cells = cell_means(selection.expected, _parameters(tables), row, column)
    if cells.table.empty or not cells.table["mean"].notna().any():
        why = "; ".join(cells.not_estimated) or "no score"
        return sentence(f"{row} x {column}: not shown, {why}.")
    means = cells.table.pivot(index="row", columns="column", values="mean")
    order = {name: list(dict.fromkeys(cells.table[name])) for name in ("row", "column")}
    means = means.reindex(index=order["row"], columns=order["column"])
    means = means.dropna(how="all").dropna(how="all", axis="columns")  # levels that never have the other parameter
    by_pair = cells.table.set_index(["row", "column"])
    words = [[_cell_words(by_pair.loc[(one, other)]) for other in means.columns] for one in means.index]
    trace = {
        "type": "heatmap",
        "x": [label(each) for each in means.columns],
        "y": [label(each) for each in means.index],
        "z": means.to_numpy(),
        "text": words,
        "texttemplate": "%{text}",
        "hoverinfo": "skip",
        "colorscale": SCALE,
        "reversescale": tables.minimize,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".4~g"},
        "xgap": 3,
        "ygap": 3,
    }
    at = int((np.nanargmin if tables.minimize else np.nanargmax)(by_pair["mean"]))
    best = by_pair.index[at]
    title = f"{row} x {column}: best at {best[0]} with {best[1]}, {digits(by_pair['mean'].iloc[at])}"
    caption = (
        f"{tables.score_label} at the average of the other parameters; each cell shows the mean and n, the fold "
        "trials at full length. Cells with few of them rely on forecasts of paused ones."
    )
    layout = {
        "xaxis": axis(label(column), type="category"),
        "yaxis": axis(label(row), type="category", autorange="reversed"),
    }
    return Figure(
        f"cells-{row}-{column}",
        title,
        caption,
        [trace],
        layout,
        160 + 62 * len(means),
        70 * len(means.columns) + 140,
        True,
    )


def _cell_words(cell: Any) -> str:
    return "" if pd.isna(cell["mean"]) else f"{digits(cell['mean'])}<br>n = {int(cell['trials'])}"


def _importance(tables: RunTables, selection: Selection) -> Figure | Markup:
    found = importance(selection.expected, _parameters(tables))
    if not found.shares:
        return sentence(f"Importance of the parameters is not shown: {found.why_not}.")
    names, shares = list(found.shares)[::-1], list(found.shares.values())[::-1]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": [label(name) for name in names],
        "marker": {"color": SET},
        "text": [f"{share:.0%}" for share in shares],
        "hoverinfo": "skip",
        "showlegend": False,
    }
    left = f" Left out: {'; '.join(found.left_out)}." if found.left_out else ""
    drawn = " (random sample)" if found.configs < len(selection.expected.full.dropna()) else ""
    sample = f"{plural(found.configs, 'complete config')}{drawn}"
    caption = f"Share of the variance between configs, by fANOVA. n = {sample}.{left}"
    layout = {
        "xaxis": axis("share of the variance", tickformat=".0%", rangemode="tozero"),
        "yaxis": {"type": "category"},
    }
    title = f"{names[-1]} explains the largest share of the difference between configs: {shares[-1]:.0%}"
    return Figure("importance", title, caption, [trace], layout, 140 + 34 * len(names), half=True)
