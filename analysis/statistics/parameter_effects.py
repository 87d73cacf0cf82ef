"""What each parameter does, whatever the others are: main effects from a mixed model, and means of two crossed.

Folds and the levels of the parameters are fixed; configs are random, because what a config has beyond the effects
of its parameters is shared by its folds: five folds are not five witnesses for a learning rate. It is the model of
``additive`` with the parameters as covariates. statsmodels' MixedLM gives the same on a complete table (a test holds
them together), but knows no promised scores, and does not converge where configs differ by nothing but parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.statistics.additive_model import Scores, fit_scores
from analysis.statistics.design_matrix import Coded, code, untellable
from analysis.statistics.expected_scores import Expected
from search.race.mixed_model import Array

LEVEL = 0.95
DRAWS = 4000
EFFECTS = ("parameter", "level", "effect", "low", "high", "configs", "trials")
CELLS = ("row", "column", "mean", "low", "high", "configs", "trials")


@dataclass(frozen=True)
class MainEffects:
    """A row per level in ``table``: its distance from the average of its parameter's levels, and n. What cannot be
    estimated is not in the table; ``untold`` says why.
    """

    table: pd.DataFrame
    untold: tuple[str, ...]


@dataclass(frozen=True)
class Cells:
    """A row per pair of levels in ``table``: the mean over the folds that such configs give at the average of all
    other parameters, NaN where there is no config, and n.
    """

    table: pd.DataFrame
    untold: tuple[str, ...]


def main_effects(expected: Expected, parameters: pd.DataFrame, seed: int = 0) -> MainEffects:
    """``parameters`` has a column per parameter and a row per config, by its id; ``trials`` counts full lengths."""
    known = _with_scores(expected)
    coded, untold = _coded(parameters.loc[known.scores.index], [str(name) for name in parameters.columns])
    aliased = untellable(coded)
    drawn = _draw(known, [each.columns for each in coded], seed)
    if isinstance(drawn, str):
        return MainEffects(pd.DataFrame(columns=list(EFFECTS)), (*untold, drawn))
    rows: list[tuple[object, ...]] = []
    start = known.scores.shape[1]
    for each in coded:
        slopes = drawn[:, start : (start := start + each.columns.shape[1])]
        if each.name in aliased:
            continue
        for level, contrast in zip(each.levels, each.contrasts, strict=True):
            rows.append((each.name, level, *_interval(slopes @ contrast), *_behind(known, each.has(level))))
    return MainEffects(pd.DataFrame(rows, columns=list(EFFECTS)), (*untold, *aliased.values()))


def cell_means(expected: Expected, parameters: pd.DataFrame, row: str, column: str, seed: int = 0) -> Cells:
    """For a heat map: all that is special about a pair of levels is in it, the others enter by their main effects."""
    known = _with_scores(expected)
    parameters = parameters.loc[known.scores.index]
    crossed, untold = _coded(parameters, [row, column])
    if len(crossed) < 2:
        return Cells(pd.DataFrame(columns=list(CELLS)), tuple(untold))
    levels = [(one, other) for one in crossed[0].levels for other in crossed[1].levels]
    pairs = list(zip(crossed[0].labels, crossed[1].labels, strict=True))
    cells = Coded(f"{row} x {column}", *_pairs(levels, pairs))
    others, _ = _coded(parameters, [name for name in parameters.columns if name not in (row, column)])
    drawn = _draw(known, [cells.columns, *(each.columns for each in others)], seed)
    if isinstance(drawn, str):
        return Cells(pd.DataFrame(columns=list(CELLS)), (drawn,))
    folds = known.scores.shape[1]
    slopes = drawn[:, folds : folds + cells.columns.shape[1]]
    contrasts = dict(zip(cells.levels, cells.contrasts, strict=True))
    rows = []
    for one, other in levels:
        here = [pair == (one, other) for pair in pairs]
        mean = (np.nan, np.nan, np.nan)
        if any(here):
            mean = _interval(drawn[:, :folds].mean(axis=1) + slopes @ contrasts[_pair(one, other)])
        rows.append((one, other, *mean, *_behind(known, here)))
    return Cells(pd.DataFrame(rows, columns=list(CELLS)), ())


def _with_scores(expected: Expected) -> Expected:
    return expected.of(expected.scores.index[expected.scores.notna().any(axis="columns")])


def _coded(parameters: pd.DataFrame, names: Sequence[str]) -> tuple[list[Coded], list[str]]:
    coded = [code(str(name), parameters[name].tolist()) for name in names]
    untold = [
        f"{each.name} has one level only: {each.levels[0]}" if each.levels else f"{each.name} is never set"
        for each in coded
        if len(each.levels) < 2
    ]
    return [each for each in coded if len(each.levels) > 1], untold


def _draw(known: Expected, columns: list[Array], seed: int) -> Array | str:
    """Draws of the folds' means and of the columns' slopes; or why there can be none."""
    count = len(known.scores)
    design = np.concatenate([np.zeros((count, 0)), *columns], axis=1)
    slopes = int(np.linalg.matrix_rank(np.concatenate([np.ones((count, 1)), design], axis=1))) if count else 1
    scores = Scores(known.scores.to_numpy(), known.variances.fillna(0.0).to_numpy(), design)
    if not design.size:
        return "no parameter has two levels among the configs with a score"
    if count <= slopes or scores.freedom < 1:
        return f"{count} configs with a score are too few to tell {slopes - 1} effects from each other"
    return fit_scores(scores).draw_shared(DRAWS, np.random.default_rng(seed))


def _pair(one: str | None, other: str | None) -> str:
    return f"{one}, {other}"


def _pairs(
    levels: list[tuple[str, str]], pairs: list[tuple[str | None, str | None]]
) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """The pairs that there are as levels of one parameter, and each config's."""
    there = tuple(_pair(*level) for level in levels if level in pairs)
    return there, tuple(None if None in pair else _pair(*pair) for pair in pairs)


def _interval(draws: Array) -> tuple[float, float, float]:
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(np.median(draws)), float(low), float(high)


def _behind(known: Expected, here: list[bool]) -> tuple[int, int]:
    return sum(here), int(known.full.loc[here].notna().to_numpy().sum())
