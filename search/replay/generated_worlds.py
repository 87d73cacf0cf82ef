"""Generated worlds to replay policies on: configs differ a little, folds differ more, and learning curves cross."""

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
    """The parameters of a world; ``_sd`` fields are standard deviations in units of the score unless noted."""

    config_sd: float = 0.010
    fold_sd: float = 0.017
    noise_sd: float = 0.006  # interaction of config and fold
    rest_share: float = 1.0  # share of the variance between configs that main effects of parameters do not explain
    pace_sd: float = 0.2  # of the log of a config's learning pace, which makes curves cross
    cell_pace_sd: float = 0.05  # of the log of a fold trial's learning pace
    wobble_sd: float = 0.0015  # noise of one evaluation
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
    """A world as a table with the columns config, fold, step, score, seconds and the parameters."""
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
    """Scores (configs x folds x reports) per block of configs that report at the same shares of their horizon."""
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
    """The final score and the log learning pace of each fold trial (configs x folds)."""
    count = len(points)
    level = 0.855 + _config_effects(recipe, points, rng)[:, None] + rng.normal(0, recipe.fold_sd, folds)
    final = level + rng.normal(0, recipe.noise_sd, (count, folds))
    pace = recipe.pace_sd * rng.normal(size=(count, 1))
    return final, pace + recipe.cell_pace_sd * rng.normal(size=(count, folds))


def generated_study(recipe: Recipe, seed: int) -> RecordedStudy:
    return study_from_table(make_world(recipe, seed))


def _config_effects(recipe: Recipe, points: Sequence[Mapping[str, object]], rng: np.random.Generator) -> Array:
    main = np.zeros(len(points))
    for name in dict.fromkeys(name for point in points for name in point):
        levels = [str(point.get(name)) for point in points]
        distinct = list(dict.fromkeys(levels))
        effects = dict(zip(distinct, rng.normal(size=len(distinct)), strict=True))
        main += np.array([effects[level] for level in levels])
    main = (main - main.mean()) / (main.std() or 1.0)
    rest = rng.normal(size=len(points))
    return np.asarray(recipe.config_sd * (np.sqrt(1 - recipe.rest_share) * main + np.sqrt(recipe.rest_share) * rest))


def score_gap(shape: str, time: Array, pace: Array, rng: np.random.Generator) -> Array:
    """The difference to the final score of a fold trial, 0 at the end; a larger pace learns more slowly."""
    if shape == "exponential":
        late = np.exp(-time / (0.12 * np.exp(pace))) - np.exp(-1 / (0.12 * np.exp(pace)))
        return np.asarray(0.35 * late)
    if shape == "power":
        return np.asarray(0.03 * ((0.02 + time) ** -np.exp(pace - 0.4) - 1.02 ** -np.exp(pace - 0.4)))
    if shape == "cosine":  # part of the gain comes late, as the learning rate decays, and its size varies by config
        return np.asarray(0.05 * np.exp(pace) * (1 - time) ** 1.5 + 0.3 * np.exp(-time / 0.05))
    if shape == "late":  # a plateau before learning starts
        begin = 0.15 * np.exp(pace)
        climb = 1 / (1 + np.exp(-(time - begin) / 0.05))
        end = 1 / (1 + np.exp(-(1 - begin) / 0.05))
        return np.asarray(0.6 * (end - climb) + 0.01 * (1 - time))
    if shape == "wander":  # a random walk: the curve so far does not predict the rest
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
