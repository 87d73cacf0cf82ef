"""Main effects and crossed means against simulated truth, statsmodels and small tables worked out by hand."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from simulated_runs import full, names

from analysis.statistics.design_matrix import code_parameter, confounded_parameters
from analysis.statistics.expected_scores import ExpectedScores
from analysis.statistics.parameter_effects import cell_means, main_effects

SPACE = {
    "loss": ["iou", "dice"],
    "augmentation": ["low", "medium", "high"],
    "batch_size": [6, 8, 12],
    "pc": [1, 2, 3, 4],
}
NAN = float("nan")
TOO_FEW = "4 configs with a score cannot separate 3 effects"


def grid(**space):
    table = pd.DataFrame(itertools.product(*space.values()), columns=list(space))
    table.index = names(len(table))
    return table


def effects_of(rng, space):
    return {
        name: (lambda drawn: drawn - drawn.mean())(rng.normal(0, 0.005, len(levels))) for name, levels in space.items()
    }


def scored(rng, parameters, space, effects, folds, rest=0.004, noise=0.006):
    worth = sum(parameters[name].map(dict(zip(space[name], effects[name], strict=True))) for name in space)
    worth = worth.to_numpy() + rng.normal(0, rest, len(parameters))
    return 0.85 + rng.normal(0, 0.017, folds) + worth[:, None] + rng.normal(0, noise, (len(parameters), folds))


def pruned(values):
    """Run each fold only for the better half of the configs of the previous one, by their mean so far."""
    values = values.copy()
    running = np.arange(len(values))
    for fold in range(1, values.shape[1]):
        running = running[np.argsort(-values[running, :fold].mean(axis=1))[: max(6, len(running) // 2)]]
        values[np.setdiff1d(np.arange(len(values)), running), fold] = NAN
    return values


@pytest.mark.parametrize(
    ("space", "folds", "prune"),
    [
        (SPACE, 5, False),
        (SPACE, 5, True),
        ({"loss": [1, 2], "augmentation": [1, 2, 3], "batch_size": [1, 2]}, 3, False),
    ],
)
def test_intervals_reach_their_nominal_coverage(space, folds, prune):
    rng, parameters, held = np.random.default_rng(7), grid(**space), []
    for _ in range(60):
        effects = effects_of(rng, space)
        values = scored(rng, parameters, space, effects, folds)
        table = main_effects(full(pruned(values) if prune else values), parameters).table
        held += list(
            (table["low"] < np.concatenate(list(effects.values())))
            & (table["high"] > np.concatenate(list(effects.values())))
        )
    assert 0.93 <= np.mean(held) <= 0.97


def test_effects_agree_with_the_mixed_model_of_statsmodels_on_a_complete_table():
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng, parameters = np.random.default_rng(1), grid(**SPACE)
    values = scored(rng, parameters, SPACE, effects_of(rng, SPACE), 5, rest=0.008)
    table = main_effects(full(values), parameters).table.set_index(["parameter", "level"])
    coded = np.concatenate([code_parameter(name, parameters[name].tolist()).columns for name in SPACE], axis=1)
    config, fold = np.indices(values.shape).reshape(2, -1)
    design = np.concatenate([np.eye(5)[fold], coded[config]], axis=1)
    model = MixedLM((values.ravel() - 0.85) * 100, design, config).fit(reml=True)
    # the first level of each parameter is a coefficient: columns 5, 6, 8, 10
    for name, column in zip(SPACE, (5, 6, 8, 10), strict=True):
        row = table.loc[(name, str(SPACE[name][0]))]
        assert row["effect"] == pytest.approx(model.fe_params[column] / 100, abs=1e-4)
        assert (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * model.bse_fe[column] / 100, rel=0.1)


def test_balanced_effects_are_differences_of_means():
    # means by loss 0.82 and 0.78, so +0.02 and -0.02; by size 0.81 and 0.79, so +0.01 and -0.01
    parameters = grid(loss=["iou", "dice"], size=[6, 8], again=[1, 2])
    worth = np.repeat([0.83, 0.81, 0.79, 0.77], 2)
    values = np.add.outer(worth, [0.0, 0.01, -0.01])
    values = values + np.random.default_rng(0).normal(0, 1e-6, values.shape)
    table = main_effects(full(values), parameters).table.set_index(["parameter", "level"])
    assert table["effect"].to_dict() == pytest.approx(
        {("loss", "iou"): 0.02, ("loss", "dice"): -0.02, ("size", "6"): 0.01, ("size", "8"): -0.01}
        | {("again", "1"): 0.0, ("again", "2"): 0.0},
        abs=1e-5,
    )
    assert table["configs"].tolist() == [4] * 6 and table["trials"].tolist() == [12] * 6


def test_cell_means_include_the_interaction():
    # cells 0.80, 0.82, 0.81, 0.87: an interaction of 0.04; the third parameter adds or subtracts 0.01
    parameters = grid(loss=["iou", "dice"], augmentation=["low", "high"], size=[6, 8])
    cells = np.repeat([0.80, 0.82, 0.81, 0.87], 2) + np.tile([0.01, -0.01], 4)
    values = cells[:, None] + np.array([[-0.02, 0.02]]) + np.random.default_rng(0).normal(0, 1e-6, (8, 2))
    found = cell_means(full(values), parameters, "loss", "augmentation").table
    assert found["mean"].tolist() == pytest.approx([0.80, 0.82, 0.81, 0.87], abs=1e-4)
    assert found[["row", "column"]].to_numpy().tolist()[1] == ["iou", "high"]
    assert found["configs"].tolist() == [2] * 4 and found["trials"].tolist() == [4] * 4
    # dice with high only at size 8: the mean still refers to the average size
    partial = cell_means(full(values[[0, 1, 2, 3, 4, 5, 7]]), parameters.iloc[[0, 1, 2, 3, 4, 5, 7]].set_axis(names(7)),
                         "loss", "augmentation").table  # fmt: skip
    assert partial["mean"].iloc[3] == pytest.approx(0.87, abs=1e-4)


def test_cells_are_means_of_the_configs_that_have_both_parameters():
    values = np.repeat([0.80, 0.82, 0.60, 0.62, 0.10], 2)  # the last method has no inputs
    parameters = pd.DataFrame(
        {"method": list("aaaabbbbcc"), "inputs": [*["x", "x", "y", "y"] * 2, None, None]}, index=names(10)
    )
    noise = np.random.default_rng(0).normal(0, 1e-5, (10, 3))
    table = cell_means(full(values[:, None] + noise), parameters, "method", "inputs").table
    assert table["mean"].tolist() == pytest.approx([0.80, 0.82, 0.60, 0.62], abs=1e-3)


def test_a_pair_without_configs_has_no_mean():
    parameters = grid(loss=["iou", "dice"], augmentation=["low", "high"], size=[6, 8]).iloc[:6]
    values = np.random.default_rng(0).normal(0.8, 0.01, (6, 3))
    last = cell_means(full(values), parameters, "loss", "augmentation").table.iloc[3]
    assert np.isnan(last["mean"]) and last["configs"] == 0 and last["trials"] == 0


def test_a_numeric_parameter_is_binned_into_thirds_and_an_optimum_in_the_middle_is_found():
    rng = np.random.default_rng(0)
    rate = 10 ** rng.uniform(-4, -2, 60)
    values = 0.85 - 0.02 * np.abs(np.log10(rate) + 3)[:, None] + rng.normal(0, 0.002, (60, 3))
    parameters = pd.DataFrame({"learning_rate": rate}, index=names(60))
    table = main_effects(full(values), parameters).table
    assert len(table) == 3 and table["configs"].between(19, 21).all()
    assert table["low"].iloc[1] > 0 > table["high"].iloc[0]
    assert table["level"].iloc[0].startswith("0.0001") and " to " in table["level"].iloc[0]


def test_confounded_parameters_are_reported():
    parameters = grid(loss=["iou", "dice"], size=[6, 8, 12])
    parameters["weight"] = parameters["loss"].map({"iou": 1, "dice": 2})
    found = main_effects(full(np.random.default_rng(0).normal(0.8, 0.01, (6, 4))), parameters)
    assert set(found.table["parameter"]) == {"size"}
    assert found.not_estimated == ("loss cannot be separated from weight", "weight cannot be separated from loss")


def test_a_conditional_parameter_is_separated_from_its_condition():
    values = np.array([0.80, 0.80, 0.80, 0.84, 0.86, 0.84, 0.86])  # encoder b with attention or without
    parameters = pd.DataFrame(
        {"encoder": list("aaabbbb"), "attention": [None, None, None, "no", "yes", "no", "yes"]}, index=names(7)
    )
    rng = np.random.default_rng(0)
    found = main_effects(full(values[:, None] + rng.normal(0, 1e-5, (7, 3))), parameters)
    effect = found.table.set_index(["parameter", "level"])["effect"]
    assert found.not_estimated == ()
    assert effect["attention", "yes"] == pytest.approx(0.01, abs=1e-3)
    assert effect["encoder", "b"] == pytest.approx(0.025, abs=1e-3)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (pd.DataFrame({"loss": ["iou"] * 4}), "loss has only one level: iou"),
        (pd.DataFrame({"loss": [None] * 4}), "loss is never set"),
        (pd.DataFrame({"a": list("xyxy"), "b": list("xxyy"), "c": list("xyyx")}), TOO_FEW),
        (pd.DataFrame(index=range(4)), "no parameter has two levels among the configs with a score"),
    ],
)  # fmt: skip
def test_effects_that_cannot_be_estimated_are_reported_with_the_reason(parameters, reason):
    found = main_effects(full(np.random.default_rng(0).normal(0.8, 0.01, (4, 3))), parameters.set_axis(names(4)))
    assert found.table.empty
    assert reason in found.not_estimated


@pytest.mark.parametrize("values", [np.full((6, 3), NAN), np.full((6, 1), 0.8), np.full((6, 3), 0.8)])
def test_empty_small_and_constant_tables_give_no_warning_and_no_error(values):
    parameters = grid(loss=["iou", "dice"], size=[6, 8, 12])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = main_effects(full(values), parameters)
        cells = cell_means(full(values), parameters, "loss", "size")
    assert found.not_estimated or found.table["effect"].abs().max() < 1e-6
    assert cells.not_estimated or not cells.table.empty


def test_forecast_scores_weigh_less_than_full_ones():
    parameters = grid(loss=["iou", "dice"], again=[1, 2, 3, 4])
    values = np.random.default_rng(0).normal(0.8, 0.005, (8, 3))
    certain = full(values)
    uncertain = ExpectedScores(
        certain.scores, certain.scores * 0.0 + np.where(np.arange(8) < 4, 0.0, 1.0)[:, None] * 0.02**2
    )
    width = [
        (lambda row: row["high"] - row["low"])(main_effects(each, parameters).table.iloc[0])
        for each in (certain, uncertain)
    ]
    assert width[1] > width[0]
    assert main_effects(uncertain, parameters).table["trials"].iloc[:2].tolist() == [12, 0]


def test_numeric_levels_are_sorted_and_other_values_keep_their_order():
    assert code_parameter("size", [12, 6, 8]).levels == ("6", "8", "12")
    assert code_parameter("loss", ["iou", "dice"]).levels == ("iou", "dice")
    assert code_parameter("flip", [True, False, None]).levels == ("true", "false")
    assert code_parameter("flip", [True, False, None]).columns.tolist() == [[1.0], [-1.0], [0.0]]
    assert confounded_parameters([code_parameter("a", [1, 2, 1, 2]), code_parameter("b", [1, 1, 2, 2])]) == {}
