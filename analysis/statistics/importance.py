"""The share of the variance between configs that each parameter explains: Optuna's fANOVA.

After pruning, a random forest on the surviving configs would underrate the parameters that decided the pruning, so
importance is limited to runs in which most configs are complete. Main effects with intervals have no such limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
import pandas as pd

from analysis.statistics.design_matrix import MAX_LEVELS, code_parameter
from analysis.statistics.expected_scores import ExpectedScores
from trainable.printing import plural

COMPLETE = 0.8  # share of the configs that must have all folds at full length
MIN_CONFIGS = 10  # to fit a forest
MAX_CONFIGS = 600  # its time grows with their square: 7 s for 600, 19 s for 1,000
DECADE = 10.0  # a positive range at least this wide uses a log scale


@dataclass(frozen=True)
class Importance:
    """``shares`` add up to 1, the largest first, from ``configs`` complete configs (a random sample of MAX_CONFIGS if
    there are more). Without shares ``why_not`` gives the reason; ``left_out`` lists unsupported parameters.
    """

    shares: dict[str, float] = field(default_factory=dict)
    configs: int = 0
    why_not: str = ""
    left_out: tuple[str, ...] = ()


def importance(expected: ExpectedScores, parameters: pd.DataFrame, seed: int = 0) -> Importance:
    complete = expected.full.dropna()
    if why_not := _why_not(len(complete), len(expected.scores)):
        return Importance(why_not=why_not)
    if len(complete) > MAX_CONFIGS:
        complete = complete.sample(MAX_CONFIGS, random_state=seed).sort_index()
    means = complete.mean(axis="columns")
    names, left_out = _supported_parameters(parameters.loc[complete.index])
    if not names:
        return Importance(why_not="no parameter has two values", left_out=left_out)
    if len(names) == 1:
        return Importance(why_not=f"only {names[0]} varies among all configs", left_out=left_out)
    if np.ptp(means) < 1e-12:
        return Importance(why_not="all configs have the same score", left_out=left_out)
    if find_spec("sklearn") is None:
        return Importance(why_not="fANOVA needs scikit-learn, which is not installed", left_out=left_out)
    shares = _fanova(parameters.loc[complete.index, names], means, seed)
    return Importance(shares, len(complete), left_out=left_out)


def _why_not(complete: int, configs: int) -> str:
    if complete < MIN_CONFIGS:
        return f"only {plural(complete, 'complete config')}, at least {MIN_CONFIGS} are needed"
    if complete < COMPLETE * configs:
        return f"only {complete} of {configs} configs are complete, and these are not a random sample"
    return ""


def _supported_parameters(parameters: pd.DataFrame) -> tuple[list[str], tuple[str, ...]]:
    """Those that every config sets, because fANOVA does not support conditional parameters."""
    coded = [code_parameter(str(name), parameters[name].tolist()) for name in parameters.columns]
    several = [each for each in coded if len(each.levels) > 1]
    names = [each.name for each in several if None not in each.row_levels]
    left_out = tuple(f"{each.name} is not set in every config" for each in several if each.name not in names)
    return names, left_out


def _fanova(parameters: pd.DataFrame, means: pd.Series[float], seed: int) -> dict[str, float]:
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    distributions = {name: _distribution(parameters[name].tolist()) for name in parameters.columns}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs the creation of the study
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed))
    for config, mean in means.items():
        values = {name: _plain(parameters.at[config, name], distributions[name]) for name in parameters.columns}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=distributions, value=float(mean)))
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed), normalize=True)
    return {str(name): float(share) for name, share in found.items()}


def _distribution(values: Sequence[object]) -> object:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values) and len(set(numbers)) > MAX_LEVELS:
        low, high = min(numbers), max(numbers)
        return FloatDistribution(low, high, log=low > 0 and high >= DECADE * low)
    return CategoricalDistribution(sorted({str(value) for value in values}))


def _plain(value: object, distribution: object) -> object:
    from optuna.distributions import FloatDistribution

    return float(str(value)) if isinstance(distribution, FloatDistribution) else str(value)
