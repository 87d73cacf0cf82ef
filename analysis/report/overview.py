"""The first screen: the answer in sentences, and the expected score of every config."""

import math
from collections.abc import Iterator
from html import escape
from typing import Any

import pandas as pd

from analysis.answer.selection import Selection
from analysis.answer.summary_text import lines, unknown
from analysis.report.figure import OTHER, SET, WINNER, Figure, Markup, Section, axis, duration, values_of, whole_numbers
from search.runs.cost_estimate import estimate_cost
from search.runs.run_tables import RunTables
from trainable.printing import deviation, digits, plural

MOST = 400  # configs in the figure, the best ones


def overview(tables: RunTables, selection: Selection) -> Section:
    figure = configs_figure(tables, selection) or folds_figure(tables, selection)
    blocks: list[Figure | Markup] = [Markup('<div class="facts">' + "".join(_facts(tables, selection)) + "</div>")]
    sentences = [(line.startswith("Against "), f"<p>{escape(line)}</p>") for line in lines(tables, selection)]
    first, tests = ("".join(line for test, line in sentences if test is kind) for kind in (False, True))
    rest = f"<details><summary>Tests against the others</summary>{tests}</details>" if tests else ""
    blocks.append(Markup(f'<div class="words">{first}{rest}</div>'))
    blocks += [figure] if figure else []
    return Section("answer", "", blocks)


def configs_figure(tables: RunTables, selection: Selection) -> Figure | None:
    """Expected score and interval by rank, with the winner and its set highlighted."""
    known, peers = selection.standings(forecasts=False), list(selection.peers)
    if len(known) < 2:
        return None
    forecasts = selection.standings().loc[peers].query("folds == 0")
    ranked = pd.concat([known, forecasts]).sort_values("expected", ascending=tables.minimize, kind="stable")
    shown = ranked.head(MOST).join(tables.configs.set_index("config")[tables.parameters])
    shown = shown.assign(rank=range(1, len(shown) + 1))
    winner = None if selection.winner is None else selection.winner.config
    in_set, guessed = shown.index.isin(peers) & (shown.index != winner), shown["folds"] == 0
    groups = (
        ("the others", OTHER, 0, ~shown.index.isin(peers)),
        ("cannot be distinguished from the winner", SET, 0, in_set & ~guessed),
        ("the same by a forecast", SET, "circle-open", guessed),
        ("the winner", WINNER, "diamond", shown.index == winner),
    )
    traces = [_dots(tables, name, colour, symbol, shown[here]) for name, colour, symbol, here in groups if here.any()]
    full = plural(int(tables.trials["full"].notna().sum()), "fold trial")
    n = f"n = {plural(len(known), 'config')}, {full} at full length"
    if len(forecasts):
        n += f", and {plural(len(forecasts), 'config')} of the set without a full-length score"
    cut = f"; the best {MOST} are shown" if len(ranked) > MOST else ""
    drawn = ""
    if winner is not None and selection.winner is not None and winner in known.index:
        drawn = f", the winner's from {digits(selection.winner.mean)} to {digits(known.expected[winner])}"
    caption = f"Expected mean on any folds of the same data with 95 % interval, shrunk{drawn}. {n}{cut}."
    layout = {
        "xaxis": axis("rank", range=[0.2, len(shown) + 0.8], **whole_numbers(len(shown))),
        "yaxis": axis(f"expected {tables.score_label}, mean over {tables.folds} folds"),
    }
    return Figure("configs", _finding(tables, selection, len(known)), caption, traces, layout, 400)


def folds_figure(tables: RunTables, selection: Selection) -> Figure | None:
    """The folds of a winner that has no other config to compare with."""
    winner = selection.winner
    if winner is None:
        return None
    title = f"The winner scores {digits(winner.mean)}; there is too little to compare it with"
    low, high = min(winner.folds), max(winner.folds)
    room = max(0.05, (high - low) / 4)  # so that small differences look small
    ends = [low - room if low < 0 else max(0.0, low - room), high + room if high > 1 else min(1.0, high + room)]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "the winner",
        "x": list(range(len(winner.folds))),
        "y": list(winner.folds),
        "marker": {"color": WINNER, "size": 10, "symbol": "diamond"},
        "hovertemplate": "fold %{x}: %{y:.4g}<extra></extra>",
    }
    layout = {
        "xaxis": axis("fold", range=[-0.5, len(winner.folds) - 0.5], **whole_numbers(len(winner.folds))),
        "yaxis": axis(f"{tables.score_label} of the fold", range=ends),
    }
    caption = f"The winner's score on each fold. n = {plural(len(winner.folds), 'fold trial')} at full length."
    return Figure("winner-folds", title, caption, [trace], layout, 300)


def _finding(tables: RunTables, selection: Selection, configs: int) -> str:
    if selection.winner is None:
        return f"No winner yet: estimated scores of {plural(configs, 'config')}"
    others = len(selection.peers) - 1
    if selection.assessment.why_not:
        return f"The winner scores {digits(selection.winner.mean)}; there is too little to compare it with"
    scored = " with a score" if unknown(tables, selection) else ""
    others_text = (
        f"{plural(others, 'other config')} cannot be distinguished from it"
        if others
        else f"all others{scored} can be distinguished from it"
    )
    return f"The winner scores {digits(selection.winner.mean)}, and {others_text}"


def _dots(tables: RunTables, name: str, colour: str, symbol: str | int, rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": rows["rank"].tolist(),
        "y": rows["expected"].tolist(),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["expected"]).tolist(),
            "arrayminus": (rows["expected"] - rows["low"]).tolist(),
            "color": colour,
            "thickness": 1.5,
            "width": 0,
        },
        "marker": {"color": colour, "size": 10 if colour == WINNER else 6, "symbol": symbol},
        "customdata": rows.index.tolist(),
        "text": [
            f"<b>{config}</b><br>{values_of(row, tables.parameters)}<br>"
            f"{digits(row['expected'])}, {plural(int(row['folds']), 'full fold') if row['folds'] else 'a forecast'}"
            for config, row in zip(rows.index, rows.to_dict("records"), strict=True)
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _facts(tables: RunTables, selection: Selection) -> Iterator[str]:
    winner, corrected = selection.winner, selection.corrected
    if winner is not None:
        sd = "" if math.isnan(winner.sd) else f"± {deviation(winner.sd, winner.mean)} between {len(winner.folds)} folds"
        yield _fact(digits(winner.mean), f"{tables.metric} of the winner", sd)
        if corrected is not None:
            interval = f"95 % {digits(corrected.low)} to {digits(corrected.high)}"
            yield _fact(digits(corrected.estimate), "corrected for the selection", interval)
        scored = len(selection.assessment.standings)
        more = f"of {plural(scored, 'config')}{' with a score' if unknown(tables, selection) else ''}"
        if not selection.assessment.why_not:
            yield _fact(str(len(selection.peers)), "cannot be distinguished, the winner included", more)
    else:
        yield _fact("–", "no winner yet", f"{plural(len(tables.configs), 'config')}, none complete")
    seen = estimate_cost(tables.status)
    if seen is not None:
        device = tables.status.device
        share = f"{seen.spent / seen.grid:.0%} of the full grid's {duration(seen.grid, device)}" if seen.grid else ""
        number, unit = duration(seen.spent, device).split(" ", 1)
        yield _fact(number, unit, share)


def _fact(number: str, what: str, more: str) -> str:
    return (
        f'<div class="fact"><div class="value">{escape(number)}</div><div>{escape(what)}</div>'
        f'<div class="more">{escape(more)}</div></div>'
    )
