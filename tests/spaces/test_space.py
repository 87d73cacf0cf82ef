"""The configs of a space: listing, conditions, exclusions, sampling and proposals."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.load import load_space, make_space
from spaces.schema.parameters import Choice, Range
from spaces.shipped import shipped_spaces
from spaces.summary import summary
from spaces.yaml_file.problems import Forbidden
from trainable.config import make_config
from trainable.errors import UserError


def text(parameters, *more):
    lines = "\n".join(f"  {line}" for line in parameters)
    return "\n".join(["name: a", "data: b", "parameters:", lines, *more])


def drawn(space, count=300):
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(count)]


def test_the_full_grid_is_72_configs_of_efficientnet_b2_on_5_folds():
    space = load_space("full_grid")
    configs = space.configs()
    assert space.size == len(configs) == len({point.id for point in configs}) == 2 * 3 * 3 * 4
    assert space.settings.folds == 5
    assert {point.config.encoder for point in configs} == {"efficientnet-b2"}
    assert list(configs[0].values) == ["loss", "augmentation", "batch_size", "pc"]


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_shipped_space_is_valid_and_its_configs_can_be_drawn(name):
    space = load_space(name)
    assert space.settings.name == name
    assert all(point.config.id == point.id for point in drawn(space, 20))


def test_the_shipped_spaces_have_the_documented_contents():
    encoders, quickstart, beyond = (load_space(name) for name in ("encoders", "quickstart", "beyond"))
    assert encoders.parameters["encoder"].values == ("mobilenetv3_large_100", "resnet18", "efficientnet-b2")
    assert (quickstart.size, quickstart.settings.folds) == (12, 3)
    assert beyond.size is None and beyond.settings.sampler.name == "tpe"
    assert any(parameter.when for parameter in beyond.parameters.values())


def test_a_config_has_the_id_that_the_trainable_gives_it(load):
    point = load().configs()[0]
    assert point.values == {"loss": "iou", "pc": 1}
    assert point.config == make_config({"loss": "iou", "pc": 1.0}) and point.id == point.config.id


def test_configs_follow_the_order_of_the_file_and_the_first_parameter_changes_slowest(load):
    assert [tuple(point.values.values()) for point in load().configs()] == [
        ("iou", 1),
        ("iou", 2),
        ("iou", 3),
        ("dice", 1),
        ("dice", 2),
        ("dice", 3),
    ]


def test_equal_values_make_one_config(load):
    assert load(old="[1, 2, 3]", new="[3, 3.0, 3e0]").size == 2


def test_a_number_in_quotes_is_that_number_and_a_size_has_one_form(load):
    space = load(text(["pc: {values: ['1', 1, 2.0]}", "size: {values: [96x64, [96, 64], 64X64]}"]))
    assert space.parameters["pc"].values == (1, 2) and space.parameters["size"].values == ("96x64", "64x64")


def test_class_weights_have_one_form_whether_fixed_or_searched(load):
    space = load(text(["class_weights: {values: [none, '1,3,3', [1, 3.0, 3], [1, 0.1, 2]]}"]))
    assert space.parameters["class_weights"].values == (None, "1,3,3", "1,0.1,2")
    assert [point.config.class_weights for point in space.configs()] == [None, (1, 3, 3), (1, 0.1, 2)]
    assert load(text(["class_weights: [1, 2]"])).constants == {"class_weights": "1,2"}


def test_a_plain_value_is_fixed_and_not_searched(load):
    space = load(
        text(["loss: dice", "attention: none", "augmentation: none", "size: [96, 64]", "pc: {values: [1, 2]}"])
    )
    assert space.constants == {"loss": "dice", "attention": None, "augmentation": "none", "size": "96x64"}
    assert [point.values for point in space.configs()] == [{"pc": 1}, {"pc": 2}]
    assert space.configs()[0].config.size == (96, 64) and space.configs()[0].config.attention is None


def test_a_metric_may_be_given_by_its_name_alone(load):
    assert load(old="data:", new="metric: dice\ndata:").settings.metric.name == "dice"


def test_a_parameter_whose_condition_does_not_hold_takes_its_default(load):
    space = load(text(["encoder: {values: [a, b, c]}", "pc: {values: [1, 2], when: {encoder: [a, b]}}"]))
    assert [point.values for point in space.configs()] == [
        {"encoder": "a", "pc": 1},
        {"encoder": "a", "pc": 2},
        {"encoder": "b", "pc": 1},
        {"encoder": "b", "pc": 2},
        {"encoder": "c"},
    ]
    assert space.configs()[-1].config.pc == 3.0
    assert {"pc" in point.values for point in drawn(space) if point.values["encoder"] == "c"} == {False}


def test_a_condition_may_name_a_parameter_that_comes_later_or_is_fixed(load):
    space = load(text(["pc: {values: [1, 2], when: {loss: iou}}", "loss: {values: [iou, dice]}"]))
    assert list(space.parameters) == ["loss", "pc"] and space.size == 3
    assert load(text(["pc: {values: [1, 2], when: {loss: iou}}", "loss: dice"])).size == 1


def test_chained_conditions_use_the_values_of_the_config(load):
    space = load(
        text(
            [
                "loss: {values: [iou, dice]}",
                "attention: {values: [none], when: {loss: iou}}",
                "pc: {values: [1, 2], when: {attention: scse}}",  # scse is the default when the loss is dice
            ]
        )
    )
    assert [point.values for point in space.configs()] == [
        {"loss": "iou", "attention": None},
        {"loss": "dice", "pc": 1},
        {"loss": "dice", "pc": 2},
    ]


def test_configs_that_differ_only_in_an_inactive_parameter_are_one_config(load):
    space = load(text(["loss: {values: [iou, dice]}", "pc: {values: [3, 1], when: {loss: iou}}"]))
    assert len({point.id for point in space.configs()}) == space.size == 3


def test_a_cycle_of_conditions_is_reported(problems):
    parameters = [
        "pc: {values: [1], when: {ema: 0.5}}",
        "loss: {values: [iou], when: {pc: 1}}",
        "ema: {values: [0.5], when: {loss: iou}}",
    ]
    assert "is part of a cycle of conditions: pc -> ema -> loss -> pc" in problems(text(parameters))[0]


def test_forbidden_configs_are_not_listed_drawn_or_accepted(load):
    space = load(old="data:", new="forbid: [{loss: dice, pc: [1, 2]}, {loss: iou, pc: 3}]\ndata:")
    assert [tuple(point.values.values()) for point in space.configs()] == [("iou", 1), ("iou", 2), ("dice", 3)]
    assert {point.id for point in drawn(space)} == {point.id for point in space.configs()}
    with pytest.raises(Forbidden, match=r"excluded by forbid\.0"):
        space.resolve({"loss": "dice", "pc": 2})


def test_sampling_from_a_space_that_forbids_everything_is_an_error(load):
    space = load(text(["ema: {min: 0, max: 0.5}", "pc: 1"], "forbid: [{pc: 1}]", "sampler: {name: random, count: 2}"))
    with pytest.raises(UserError, match="forbid excluded 1000 random configs"):
        space.sample(random.Random(0))


def test_ranges_are_sampled_within_their_bounds_and_with_their_distribution(load):
    parameters = [
        "learning_rate: {min: 1e-4, max: 1e-2, distribution: log_uniform}",
        "dropout: {min: 0, max: 0.5}",
        "batch_size: {min: 1, max: 4}",
        "steps: {min: 1, max: 1000, distribution: int, log: true}",
    ]
    space = load(text(parameters, "sampler: {name: random, count: 9}"))
    assert (space.size, space.enumerable) == (None, False)
    configs = [point.config for point in drawn(space, 1000)]
    assert all(1e-4 <= config.learning_rate <= 1e-2 and 0 <= config.dropout <= 0.5 for config in configs)
    # Half of a log scale from 1e-4 to 1e-2 lies below 1e-3, half of one from 1 to 1000 below 32.
    assert 430 < sum(config.learning_rate < 1e-3 for config in configs) < 570
    assert 430 < sum(config.steps < 32 for config in configs) < 570
    assert {config.batch_size for config in configs} == {1, 2, 3, 4}
    with pytest.raises(UserError, match="cannot be listed"):
        space.configs()


def test_parameters_are_typed(load):
    space = load(
        text(["loss: {values: [iou, dice]}", "steps: {min: 1, max: 9, log: true}"], "sampler: {name: tpe, count: 1}")
    )
    assert space.parameters["loss"] == Choice("loss", ("iou", "dice"))
    assert space.parameters["steps"] == Range("steps", 1, 9, "int", log=True)


def test_a_sampler_may_propose_any_allowed_values(load):
    space = load(
        text(["encoder: {values: [a, b]}", "pc: {min: 1, max: 3, when: {encoder: a}}"], "sampler: {name: gp, count: 1}")
    )
    assert space.resolve({"encoder": "a", "pc": 1.5}).config.pc == 1.5
    assert space.resolve({"encoder": "b", "pc": 1.5}).values == {"encoder": "b"}
    for values, message in [
        ({"encoder": "a"}, "pc: has no value"),
        ({"encoder": "a", "pc": 4}, "pc = 4: must be 1 to 3"),
        ({"encoder": "c"}, "encoder = 'c': must be a, b"),
        ({"encoder": "b", "encodr": 1}, "'encodr'. Did you mean 'encoder'"),
    ]:
        with pytest.raises(UserError, match=message):
            space.resolve(values)


def test_choose_asks_only_for_active_parameters(load):
    space = load(
        text(["encoder: {values: [a, b]}", "pc: {min: 1, max: 3, when: {encoder: a}}"], "sampler: {name: gp, count: 1}")
    )
    requested = []
    space.choose(lambda parameter: requested.append(parameter.name) or "b")
    assert requested == ["encoder"]


def test_spaces_of_earlier_versions_have_no_keys_that_came_later(load):
    tree = {"name": "first", "data": "data", "parameters": {}}
    assert not {"references", "keep_probabilities"} & make_space(tree).canonical().keys()
    assert make_space({**tree, "keep_probabilities": True}).canonical()["keep_probabilities"] is True


def test_the_scripted_trainable_accepts_undeclared_parameters(load):
    space = load(
        "name: a\ntrainable: scripted\nparameters:\n  steps: 12\n  speed: {values: [1, fast]}\n"
        "  crash: {min: 0, max: 1, when: {speed: fast}}\nsampler: {name: random, count: 3}\n"
    )
    point = space.resolve({"speed": "fast", "crash": 0.5})
    assert point.config.model_dump()["crash"] == 0.5 and point.config.report_steps(12)
    assert space.resolve({"speed": 1}).id != point.id


def test_a_trainable_with_scores_of_its_own_names_its_metric_and_its_goal(load):
    space = load(
        "name: a\ntrainable: scripted\nmetric: {name: val.loss, goal: minimize}\n"
        "parameters: {speed: {values: [1, 2]}}\n"
        "references: [{source: A text, scores: {val.loss: 12.5}}]\n"
    )
    assert (space.settings.metric.name, space.settings.metric.goal) == ("val.loss", "minimize")
    assert ("metric", "val.loss, minimize") in summary(space) and make_space(space.canonical()) == space


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_space_saved_as_json_and_read_back_is_the_same(name, tmp_path):
    space = load_space(name)
    (tmp_path / "saved.json").write_text(json.dumps(space.canonical()))
    saved = load_space(tmp_path / "saved.json")
    assert saved == make_space(space.canonical()) == space
    assert saved.canonical() == space.canonical() and saved.difference(space) == []


def test_a_difference_is_listed_by_key(load):
    old = load(old="data:", new="scheduler: foldrace\ndata:")
    new = load(
        old="[1, 2, 3]",
        new="[1, 3]",
        overrides=[
            "scheduler={name: foldrace, keep: 0.5}",
            "folds=3",
            "budget.wall=1h",
            "parameters.loss=iou",
            "parameters.ema=0",
        ],
    )
    assert sorted(old.difference(new)) == [
        "budget.wall: added, 3600.0",
        "folds: 5 -> 3",
        "parameters.ema: added, 0",
        "parameters.loss: {values: ['iou', 'dice']} -> 'iou'",
        "parameters.pc.values: [1, 2, 3] -> [1, 3]",
        "scheduler.keep: 0.83 -> 0.5",
    ]
    assert "parameters.ema: removed, was 0" in new.difference(old)


def test_another_notation_of_a_number_is_no_difference(load):
    assert load().difference(load(old="[1, 2, 3]", new="[1.0, 2e0, 3]")) == []


def test_a_long_difference_is_not_truncated(load):
    names = ", ".join(f"encoder{n}" for n in range(20))
    old, new = (load(text([f"encoder: {{values: [{names}, {last}]}}"])) for last in ("x", "y"))
    (line,) = old.difference(new)
    assert "'encoder19', 'x'] -> [" in line and line.endswith("'encoder19', 'y']")


@settings(max_examples=40)
@given(pc=st.lists(st.floats(0.1, 10), min_size=1, max_size=4), seed=st.integers(0, 9), off=st.booleans())
def test_samples_of_a_grid_are_in_it(pc, seed, off):
    when = {"when": {"loss": "iou"}} if off else {}
    tree = {"name": "a", "data": "b", "parameters": {"loss": {"values": ["iou", "dice"]}, "pc": {"values": pc} | when}}
    space = make_space(tree)
    point = space.sample(random.Random(seed))
    assert point in space.configs()
    assert space.resolve(point.values) == point


def test_a_huge_grid_is_refused_but_can_be_sampled(problems, load):
    parameters = [
        f"{name}: {{values: [{', '.join(map(str, range(1, 60)))}]}}" for name in ("batch_size", "steps", "pc")
    ]
    assert "is a grid of more than 50,000 configs" in problems(text(parameters))[0]
    assert load(text(parameters, "sampler: {name: random, count: 3}")).size is None


def test_values_of_inactive_parameters_do_not_make_a_grid_huge(load):
    values = ", ".join(map(str, range(1, 60)))
    active = {"batch_size": "dice", "steps": "iou", "pc": "iou"}
    parameters = [f"{name}: {{values: [{values}], when: {{loss: {loss}}}}}" for name, loss in active.items()]
    assert load(text(["loss: {values: [iou, dice]}", *parameters])).size == 59 + 59 * 59


def test_a_hyperparameter_that_only_some_configs_have_needs_a_condition(load, problems):
    """The loss on masks does not exist where supervision is by scribbles."""
    supervision = "supervision: {values: [masks, scribbles]}"
    assert problems(text([supervision, "loss: {values: [iou, dice]}", "lambda_bce: 0.5"])) == [
        "5: parameters.loss = {values: ['iou', 'dice']}: belongs to supervision = masks alone: "
        "write {when: {supervision: [masks]}}",
        "6: parameters.lambda_bce = 0.5: belongs to supervision = masks alone: "
        "write {values: [0.5], when: {supervision: [masks]}}",
    ]
    when = "when: {supervision: [masks]}"
    lines = [supervision, f"loss: {{values: [iou, dice], {when}}}", f"lambda_bce: {{values: [0.5], {when}}}"]
    assert load(text(lines)).size == 3
    assert load(text(["supervision: masks", "loss: {values: [iou, dice]}"])).size == 2


def test_a_hyperparameter_that_no_config_has_is_refused(problems):
    rule = "belongs to supervision = masks; here supervision is scribbles, so leave it out"
    assert problems(text(["supervision: scribbles", "loss: dice"])) == [f"5: parameters.loss = 'dice': {rule}"]
    conditional = "loss: {values: [iou, dice], when: {supervision: scribbles}}"
    (problem,) = problems(text(["supervision: {values: [masks, scribbles]}", conditional]))
    assert problem.endswith(rule)


def test_sequences_are_written_as_users_write_them_and_read_back():
    parameters = {
        "architecture": "deeplabv3plus",
        "atrous_rates": {"values": ["6,12,18", [12, 24, 36]]},
        "class_weights": [1, 3],
        "size": [481, 355],
    }
    space = make_space({"name": "rates", "data": "here", "parameters": parameters})
    canonical = space.canonical()["parameters"]
    assert (canonical["class_weights"], canonical["size"]) == ("1,3", "481x355")
    assert [point.config.atrous_rates for point in space.configs()] == [(6, 12, 18), (12, 24, 36)]
    assert make_space(space.canonical()) == space


def test_hyperparameters_of_one_network_are_searched_with_it_alone():
    parameters = {
        "architecture": {"values": ["unet", "unet-plain"]},
        "encoder": {"values": ["resnet18", "resnet34"], "when": {"architecture": "unet"}},
        "width": {"values": [16, 32], "when": {"architecture": "unet-plain"}},
    }
    configs = [point.config for point in make_space({"name": "two", "data": "x", "parameters": parameters}).configs()]
    assert [dict(config.network).get("encoder", config.width) for config in configs] == ["resnet18", "resnet34", 16, 32]
    del parameters["width"]["when"]
    with pytest.raises(UserError, match=r"width.*architecture"):
        make_space({"name": "two", "data": "x", "parameters": parameters})
