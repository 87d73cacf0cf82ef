"""Optuna's fANOVA, and the cases in which it is not computed."""

import itertools

import numpy as np
import pandas as pd
import pytest
from simulated_runs import full, names

from analysis.statistics import importance as module
from analysis.statistics.importance import importance

SPACE = {"loss": ["iou", "dice"], "augmentation": ["low", "medium", "high"], "batch_size": [6, 8, 12]}


@pytest.fixture
def parameters():
    table = pd.DataFrame(itertools.product(*SPACE.values()), columns=list(SPACE))
    table.index = names(len(table))
    return table


def scores(parameters):
    worth = parameters["loss"].map({"iou": 0.02, "dice": -0.02}) + parameters["batch_size"] * 0.0005
    return worth.to_numpy()[:, None] + np.array([[0.80, 0.82, 0.84]])


def test_parameters_are_ranked_and_the_result_is_reproducible(parameters):
    pytest.importorskip("sklearn", reason="fANOVA uses the forests of scikit-learn")
    found = importance(full(scores(parameters)), parameters, seed=3)
    assert list(found.shares)[:2] == ["loss", "batch_size"]
    assert sum(found.shares.values()) == pytest.approx(1.0)
    # exactly, on a complete grid: variance of loss 0.02^2 = 4e-4, of batch size 0.0005^2 * 6.22 = 1.6e-6
    assert found.shares["loss"] == pytest.approx(4e-4 / (4e-4 + 1.6e-6), abs=0.05)
    assert found == importance(full(scores(parameters)), parameters, seed=3)


def test_a_pruned_table_has_no_importance(parameters):
    values = scores(parameters)
    values[:6, 2] = np.nan
    found = importance(full(values), parameters)
    assert found.why_not == "only 12 of 18 configs are complete, and these are not a random sample"
    assert found.shares == {}


def test_many_configs_are_sampled_at_random(parameters, monkeypatch):
    pytest.importorskip("sklearn", reason="fANOVA uses the forests of scikit-learn")
    monkeypatch.setattr(module, "MAX_CONFIGS", 12)
    found = importance(full(scores(parameters)), parameters)
    assert found.configs == 12
    assert max(found.shares, key=found.shares.get) == "loss"


def test_few_configs_have_no_importance(parameters):
    found = importance(full(scores(parameters)[:5]), parameters.iloc[:5])
    assert found.why_not == "only 5 complete configs, at least 10 are needed"


def test_equal_scores_and_constant_parameters_have_no_importance(parameters):
    assert importance(full(np.full((18, 3), 0.8)), parameters).why_not == "all configs have the same score"
    constant = parameters.assign(loss="iou")[["loss"]]
    assert importance(full(scores(parameters)), constant).why_not == "no parameter has two values"


def test_a_conditional_parameter_is_left_out(parameters):
    half = parameters.assign(attention=[None, "scse", "none"] * 6)[["attention"]]
    found = importance(full(scores(parameters)), half)
    assert found.left_out == ("attention is not set in every config",)


def test_the_only_parameter_of_all_configs_has_no_importance(parameters):
    one = parameters.assign(attention=[None, "scse", "none"] * 6)[["loss", "attention"]]
    assert importance(full(scores(parameters)), one).why_not == "only loss varies among all configs"


def test_a_missing_package_is_reported(parameters, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    found = importance(full(scores(parameters)), parameters)
    assert found.why_not == "fANOVA needs scikit-learn, which is not installed"
