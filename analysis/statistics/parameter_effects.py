"""Main effects of the parameters from a mixed model, and the means of two parameters crossed.

Folds and parameter levels are fixed effects; configs are random effects, because the folds of a config share its
deviation from the effects of its parameters and are not independent observations. It is the model of
``additive_model`` with the parameters as covariates. statsmodels' MixedLM gives the same on a complete table (a test
compares them), but does not support forecast scores, and does not converge if the parameters explain all differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.statistics.additive_model import Scores, fit_scores
from analysis.statistics.design_matrix import CodedParameter, code_parameter, confounded_parameters
from analysis.statistics.expected_scores import ExpectedScores
from search.race.mixed_model import Array
from trainable.printing import plural

LEVEL = 0.95
DRAWS = 4000
EFFECTS = ("parameter", "level", "effect", "low", "high", "configs", "trials")
CELLS = ("row", "column", "mean", "low", "high", "configs", "trials")


@dataclass(frozen=True)
class MainEffects:
    """``table`` has a row per level: its distance from the average of its parameter's levels, and n;
    ``not_estimated`` gives the reasons for missing parameters.
    """

    table: pd.DataFrame
    not_estimated: tuple[str, ...]


@dataclass(frozen=True)
class CellMeans:
    """``table`` has a row per pair of levels: the mean over the folds at the average of all other parameters, NaN for a
    pair without configs, and n.
    """

    table: pd.DataFrame
    not_estimated: tuple[str, ...]


def main_effects(expected: ExpectedScores, parameters: pd.DataFrame, seed: int = 0) -> MainEffects:
    """``parameters`` has a column per parameter and a row per config id; ``trials`` counts full-length scores."""
    scored = expected.scored()
    coded, not_estimated = _code_parameters(
        parameters.loc[scored.scores.index], [str(name) for name in parameters.columns]
    )
    aliased = confounded_parameters(coded)
    drawn = _draw(scored, [each.columns for each in coded], seed)
    if isinstance(drawn, str):
        return MainEffects(pd.DataFrame(columns=list(EFFECTS)), (*not_estimated, drawn))
    rows: list[tuple[object, ...]] = []
    start = scored.scores.shape[1]
    for each in coded:
        slopes = drawn[:, start : (start := start + each.columns.shape[1])]
        if each.name in aliased:
            continue
        for level, contrast in zip(each.levels, each.contrasts, strict=True):
            rows.append((each.name, level, *_interval(slopes @ contrast), *_sample_sizes(scored, each.has(level))))
    return MainEffects(pd.DataFrame(rows, columns=list(EFFECTS)), (*not_estimated, *aliased.values()))


def cell_means(expected: ExpectedScores, parameters: pd.DataFrame, row: str, column: str, seed: int = 0) -> CellMeans:
    """For a heat map: includes the interaction of the two parameters; the others enter by their main effects.

    Configs that lack one of the two belong to no cell. They would pull the mean of all cells to their own.
    """
    both = parameters.index[parameters[[row, column]].notna().all(axis="columns")]
    scored = expected.restricted_to(both).scored()
    parameters = parameters.loc[scored.scores.index]
    crossed, not_estimated = _code_parameters(parameters, [row, column])
    if len(crossed) < 2:
        return CellMeans(pd.DataFrame(columns=list(CELLS)), tuple(not_estimated))
    levels = [(one, other) for one in crossed[0].levels for other in crossed[1].levels]
    pairs = list(zip(crossed[0].row_levels, crossed[1].row_levels, strict=True))
    cells = CodedParameter(f"{row} x {column}", *_pairs(levels, pairs))
    others, _ = _code_parameters(parameters, [name for name in parameters.columns if name not in (row, column)])
    drawn = _draw(scored, [cells.columns, *(each.columns for each in others)], seed)
    if isinstance(drawn, str):
        return CellMeans(pd.DataFrame(columns=list(CELLS)), (drawn,))
    folds = scored.scores.shape[1]
    slopes = drawn[:, folds : folds + cells.columns.shape[1]]
    contrasts = dict(zip(cells.levels, cells.contrasts, strict=True))
    rows = []
    for one, other in levels:
        here = [pair == (one, other) for pair in pairs]
        mean = (np.nan, np.nan, np.nan)
        if any(here):
            mean = _interval(drawn[:, :folds].mean(axis=1) + slopes @ contrasts[_pair(one, other)])
        rows.append((one, other, *mean, *_sample_sizes(scored, here)))
    return CellMeans(pd.DataFrame(rows, columns=list(CELLS)), ())


def _code_parameters(parameters: pd.DataFrame, names: Sequence[str]) -> tuple[list[CodedParameter], list[str]]:
    coded = [code_parameter(str(name), parameters[name].tolist()) for name in names]
    not_estimated = [
        f"{each.name} has only one level: {each.levels[0]}" if each.levels else f"{each.name} is never set"
        for each in coded
        if len(each.levels) < 2
    ]
    return [each for each in coded if len(each.levels) > 1], not_estimated


def _draw(scored: ExpectedScores, columns: list[Array], seed: int) -> Array | str:
    """Posterior draws of fold means and column slopes; or the reason why there are none."""
    count = len(scored.scores)
    design = np.concatenate([np.zeros((count, 0)), *columns], axis=1)
    slopes = int(np.linalg.matrix_rank(np.concatenate([np.ones((count, 1)), design], axis=1))) if count else 1
    scores = Scores(scored.scores.to_numpy(), scored.variances.fillna(0.0).to_numpy(), design)
    if not design.size:
        return "no parameter has two levels among the configs with a score"
    if count <= slopes or scores.freedom < 1:
        return f"{plural(count, 'config')} with a score cannot separate {plural(slopes - 1, 'effect')}"
    return fit_scores(scores).draw_shared(DRAWS, np.random.default_rng(seed))


def _pair(one: str | None, other: str | None) -> str:
    return f"{one}, {other}"


def _pairs(
    levels: list[tuple[str, str]], pairs: list[tuple[str | None, str | None]]
) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """The pairs that occur as levels of one parameter, and the pair of each config."""
    present = tuple(_pair(*level) for level in levels if level in pairs)
    return present, tuple(None if None in pair else _pair(*pair) for pair in pairs)


def _interval(draws: Array) -> tuple[float, float, float]:
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(np.median(draws)), float(low), float(high)


def _sample_sizes(scored: ExpectedScores, here: list[bool]) -> tuple[int, int]:
    return sum(here), int(scored.full.loc[here].notna().to_numpy().sum())
