"""Synthetic worlds to replay policies on: configs that differ a little, folds that differ more, curves
that cross.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.replay.recorded_study import RecordedStudy, study_from_table

Array = NDArray[np.float64]
SPACE: dict[str, tuple[object, ...]] = {
    "loss": ("iou", "dice"),
    "augmentation": ("low", "medium", "high"),
    "batch_size": (6, 8, 12),
    "pc": (1.0, 2.0, 3.0, 3.8),
}


@dataclass(frozen=True)
class Recipe:
    """How a world is made; the numbers are standard deviations in units of the score."""

    config_sd: float = 0.010
    fold_sd: float = 0.017
    noise_sd: float = 0.006  # config by fold
    rest_share: float = 1.0  # of the variance between configs: what the main effects of the parameters do not explain
    pace_sd: float = 0.2  # of the log of a config's learning pace: what makes curves cross
    cell_pace_sd: float = 0.05  # the same for a fold of a config
    wobble_sd: float = 0.0015  # of one evaluation
    shape: str = "exponential"
    folds: int = 5
    evaluations: int = 100


RECIPES = {
    "mild": Recipe(),
    "strong": Recipe(pace_sd=0.37),
    "factorial": Recipe(rest_share=0.1),
    "close": Recipe(config_sd=0.005),
    "noisy": Recipe(noise_sd=0.010),
}


def make_world(recipe: Recipe, seed: int) -> pd.DataFrame:
    """One recorded study: the columns config, fold, step, score, seconds and the parameters."""
    rng = np.random.default_rng(seed)
    points = [dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())]
    time = np.arange(1, recipe.evaluations + 1) / recipe.evaluations
    (score,) = make_scores(recipe, points, recipe.folds, [(np.arange(len(points)), time)], rng)
    return _table(points, score, time, recipe)


def make_scores(
    recipe: Recipe,
    points: Sequence[Mapping[str, object]],
    folds: int,
    blocks: Sequence[tuple[NDArray[np.int_], Array]],
    rng: np.random.Generator,
) -> list[Array]:
    """Configs x folds x reports for each block: the rows of configs that report at the same shares of their horizon."""
    final, pace = make_final_scores(recipe, points, folds, rng)
    scores = []
    for rows, time in blocks:
        score = final[rows][:, :, None] - score_gap(recipe.shape, time, pace[rows][:, :, None], rng)
        score[:, :, :-1] += rng.normal(0, recipe.wobble_sd, (len(rows), folds, len(time) - 1))
        scores.append(score)
    return scores


def make_final_scores(
    recipe: Recipe, points: Sequence[Mapping[str, object]], folds: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Configs x folds: the score at full length, and how slowly it is reached."""
    count = len(points)
    level = 0.855 + _configs(recipe, points, rng)[:, None] + rng.normal(0, recipe.fold_sd, folds)
    final = level + rng.normal(0, recipe.noise_sd, (count, folds))
    pace = recipe.pace_sd * rng.normal(size=(count, 1))
    return final, pace + recipe.cell_pace_sd * rng.normal(size=(count, folds))


def generated_study(recipe: Recipe, seed: int) -> RecordedStudy:
    return study_from_table(make_world(recipe, seed))


def _configs(recipe: Recipe, points: Sequence[Mapping[str, object]], rng: np.random.Generator) -> Array:
    main = np.zeros(len(points))
    for name in dict.fromkeys(name for point in points for name in point):
        levels = [str(point.get(name)) for point in points]
        known = list(dict.fromkeys(levels))
        effect = dict(zip(known, rng.normal(size=len(known)), strict=True))
        main += np.array([effect[level] for level in levels])
    main = (main - main.mean()) / (main.std() or 1.0)
    rest = rng.normal(size=len(points))
    return np.asarray(recipe.config_sd * (np.sqrt(1 - recipe.rest_share) * main + np.sqrt(recipe.rest_share) * rest))


def score_gap(shape: str, time: Array, pace: Array, rng: np.random.Generator) -> Array:
    """How far below its final score a fold trial is; nothing at the end. A larger pace is slower."""
    if shape == "exponential":
        late = np.exp(-time / (0.12 * np.exp(pace))) - np.exp(-1 / (0.12 * np.exp(pace)))
        return np.asarray(0.35 * late)
    if shape == "power":
        return np.asarray(0.03 * ((0.02 + time) ** -np.exp(pace - 0.4) - 1.02 ** -np.exp(pace - 0.4)))
    if shape == "cosine":  # much of the gain comes when the learning rate falls, more for some configs
        return np.asarray(0.05 * np.exp(pace) * (1 - time) ** 1.5 + 0.3 * np.exp(-time / 0.05))
    if shape == "late":  # nothing is learnt for a while, then the climb begins
        begin = 0.15 * np.exp(pace)
        climb = 1 / (1 + np.exp(-(time - begin) / 0.05))
        end = 1 / (1 + np.exp(-(1 - begin) / 0.05))
        return np.asarray(0.6 * (end - climb) + 0.01 * (1 - time))
    if shape == "wander":  # what is missing at a step has nothing to do with the curve before it
        knots = np.cumsum(rng.normal(size=(*pace.shape[:2], 10)), axis=2)
        knots += 2.0 * np.cumsum(rng.normal(size=(pace.shape[0], 1, 10)), axis=2)
        grid = np.linspace(0, 1, 10)
        walk = np.apply_along_axis(lambda row: np.interp(time, grid, row), 2, knots)
        scale = 0.03 * float(np.std(pace))
        return np.asarray(scale * (walk - time * walk[:, :, -1:]) + 0.3 * np.exp(-time / 0.08))
    raise ValueError(shape)


def _table(points: list[dict[str, object]], score: Array, time: Array, recipe: Recipe) -> pd.DataFrame:
    count, folds, steps = score.shape
    config = np.repeat(np.arange(count), folds * steps)
    columns: dict[str, object] = {
        "config": [f"c{index:02d}" for index in config],
        "fold": np.tile(np.repeat(np.arange(folds), steps), count),
        "step": np.tile(np.arange(1, steps + 1), count * folds),
        "score": score.ravel(),
    }
    pace = np.array([float(str(point["batch_size"])) for point in points]) / 6.0
    columns["seconds"] = (
        10.0 * pace[:, None, None] * (np.arange(1, steps + 1))[None, None, :] * np.ones((1, folds, 1))
    ).ravel()
    for name in SPACE:
        columns[name] = np.array([point[name] for point in points])[config]
    return pd.DataFrame(columns)
