"""``--set key.path=value``: what it changes, and how its mistakes are reported."""

import pytest

from trainable.errors import UserError


def test_an_override_changes_any_key_and_its_value_is_yaml(load):
    space = load(
        overrides=[
            "data=s3://bucket/data",
            "folds=3",
            "parameters.pc.values=[1, 3.8]",
            "parameters.pc.values.0=1.5",
            "parameters.encoder=resnet18",
            "budget.wall=90m",
            "forbid=[{loss: dice, pc: 1.5}]",
            "forbid.0.loss=iou",
        ]
    )
    assert (space.settings.data, space.settings.folds, space.settings.budget.wall) == ("s3://bucket/data", 3, 5400)
    assert space.parameters["pc"].values == (1.5, 3.8)
    assert space.constants == {"encoder": "resnet18"}
    assert space.size == 3 and space.forbid == ({"loss": ("iou",), "pc": (1.5,)},)


@pytest.mark.parametrize("scheduler", ["foldrace", "{name: foldrace, delta: 0.1}"])
def test_a_section_that_is_just_a_name_accepts_settings(load, scheduler):
    space = load(old="data:", new=f"scheduler: {scheduler}\ndata:", overrides=["scheduler.keep=0.5"])
    assert space.settings.scheduler.keep == 0.5


def test_a_fixed_value_becomes_a_choice_and_back(load):
    assert load(overrides=["parameters.loss=iou"]).size == 3
    assert load(overrides=["parameters.ema=0.5", "parameters.ema.values=[0.5, 0.9]"]).size == 12


def test_an_empty_value_restores_the_default(load):
    assert load(old="data:", new="folds: 3\ndata:", overrides=["folds="]).settings.folds == 5


def test_a_metric_given_by_name_keeps_it(load):
    space = load(old="data:", new="metric: dice\ndata:", overrides=["metric.goal=maximize"])
    assert space.settings.metric.name == "dice"


def test_the_last_override_wins(load):
    assert load(overrides=["folds=3", "folds=4"]).settings.folds == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("folds=1", "--set folds=1: folds = 1: must be greater than or equal to 2"),
        (
            "scheduler={name: foldrace, kep: 1}",
            "scheduler.kep = 1: unknown key of scheduler foldrace. Did you mean 'keep'",
        ),
        ("sampler.count=3", "--set sampler.count=3: sampler.name: is required"),
        ("batch_size=3", "--set batch_size=3: batch_size = 3: unknown key. Did you mean 'parameters.batch_size'?"),
        ("flods=3", "--set flods=3: flods = 3: unknown key. Did you mean 'folds'?"),
        (
            "parameters.pc.values=[1, 0]",
            "--set parameters.pc.values=[1, 0]: parameters.pc.values.1 = 0: must be greater",
        ),
        (
            "parameters.pc.values.7=1",
            "--set parameters.pc.values.7=1: parameters.pc.values.7: the list has no such entry",
        ),
        (
            "parameters.pc.values.x=1",
            "--set parameters.pc.values.x=1: parameters.pc.values.x: the list has no such entry",
        ),
        ("folds=[1", "--set folds=[1: folds = '[1': not YAML: "),
        ("folds=!!python/name:os.system", "is not allowed: a space file contains only plain values"),
        ("data=", "--set data=: data = null: is required"),
    ],
)
def test_a_wrong_override_is_named_instead_of_a_line(problems, override, message):
    assert any(message in problem for problem in problems(overrides=[override])), problems(overrides=[override])


def test_an_override_can_fix_a_problem_of_the_file(load):
    assert load(old="data: somewhere", new="folds: 1", overrides=["folds=3", "data=x"]).settings.folds == 3


@pytest.mark.parametrize("override", ["folds", "=3", "a..b=3", ".=1"])
def test_an_override_without_key_or_value_shows_the_syntax(load, override):
    with pytest.raises(UserError, match=r"write key\.path=value"):
        load(overrides=[override])


def test_problems_of_overrides_come_after_those_of_the_file(problems):
    found = problems(old="iou, dice", new="iou, dise", overrides=["folds=1"])
    assert [problem.split(": ")[0] for problem in found] == ["4", "--set folds=1"]
