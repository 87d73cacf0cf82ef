"""How much of the difference between configs each parameter accounts for: Optuna's fANOVA, where it may be asked.

A random forest on the configs that survived pruning would call unimportant what pruning already settled, so this is
for tables in which hardly anything is missing. Main effects with intervals are there for all tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
import pandas as pd

from analysis.statistics.design_matrix import MOST_LEVELS, code
from analysis.statistics.expected_scores import Expected

COMPLETE = 0.8  # share of the configs that must have all folds at full length
FEWEST = 10  # configs, for a forest to learn anything from
MOST = 600  # configs; its time grows with their square: 7 s for these, 19 s for 1,000
DECADE = 10.0  # a positive range this wide is taken on a log scale


@dataclass(frozen=True)
class Importance:
    """Shares that add up to 1, the largest first, of ``configs`` complete configs (drawn at random where there are more
    than it can take); without any, ``why_not`` says why. ``left_out`` says which parameters could not be asked about.
    """

    shares: dict[str, float] = field(default_factory=dict)
    configs: int = 0
    why_not: str = ""
    left_out: tuple[str, ...] = ()


def importance(expected: Expected, parameters: pd.DataFrame, seed: int = 0) -> Importance:
    complete = expected.full.dropna()
    if why_not := _why_not(len(complete), len(expected.scores)):
        return Importance(why_not=why_not)
    if len(complete) > MOST:
        complete = complete.sample(MOST, random_state=seed).sort_index()
    means = complete.mean(axis="columns")
    asked, left_out = _askable(parameters.loc[complete.index])
    if not asked:
        return Importance(why_not="no parameter has two values", left_out=left_out)
    if np.ptp(means) < 1e-12:
        return Importance(why_not="all configs have the same score", left_out=left_out)
    if find_spec("sklearn") is None:
        return Importance(why_not="needs scikit-learn, which is not installed", left_out=left_out)
    shares = _fanova(parameters.loc[complete.index, asked], means, seed)
    return Importance(shares, len(complete), left_out=left_out)


def _why_not(complete: int, configs: int) -> str:
    if complete < FEWEST:
        found = "1 complete config is" if complete == 1 else f"{complete} complete configs are"
        return f"{found} too few, at least {FEWEST} are needed"
    if complete < COMPLETE * configs:
        return f"only {complete} of {configs} configs are complete, and they were not picked at random"
    return ""


def _askable(parameters: pd.DataFrame) -> tuple[list[str], tuple[str, ...]]:
    """Those that every config sets; fANOVA knows no conditions."""
    coded = [code(str(name), parameters[name].tolist()) for name in parameters.columns]
    several = [each for each in coded if len(each.levels) > 1]
    asked = [each.name for each in several if None not in each.labels]
    left_out = tuple(f"{each.name} is not set in every config" for each in several if each.name not in asked)
    return asked, left_out


def _fanova(parameters: pd.DataFrame, means: pd.Series[float], seed: int) -> dict[str, float]:
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    distributions = {name: _distribution(parameters[name].tolist()) for name in parameters.columns}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would announce the study
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed))
    for config, mean in means.items():
        values = {name: _plain(parameters.at[config, name], distributions[name]) for name in parameters.columns}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=distributions, value=float(mean)))
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed), normalize=True)
    return {str(name): float(share) for name, share in found.items()}


def _distribution(values: Sequence[object]) -> object:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values) and len(set(numbers)) > MOST_LEVELS:
        low, high = min(numbers), max(numbers)
        return FloatDistribution(low, high, log=low > 0 and high >= DECADE * low)
    return CategoricalDistribution(sorted({str(value) for value in values}))


def _plain(value: object, distribution: object) -> object:
    from optuna.distributions import FloatDistribution

    return float(str(value)) if isinstance(distribution, FloatDistribution) else str(value)
