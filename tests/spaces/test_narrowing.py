"""An override that takes values away also takes away what only they could meet."""

from __future__ import annotations

import pytest

from spaces.load import make_space

TEXT = """\
name: small
data: somewhere
parameters:
  supervision: scribbles
  recipe: {values: [supervised, mean_teacher, dual_branch]}
  teacher_decay: {values: [0.9, 0.99], when: {recipe: mean_teacher}}
  weight_decay: {values: [0, 0.01], when: {teacher_decay: 0.9}}
  batch_size: {values: [4, 8], when: {recipe: [mean_teacher, dual_branch]}}
forbid:
  - {recipe: mean_teacher, batch_size: 8}
  - {weight_decay: 0, batch_size: 4}
  - {recipe: supervised, batch_size: 8}
scheduler: {name: foldrace, stratify: recipe}
references:
  - {source: a book, where: {weight_decay: 0.01}, scores: {miou: 0.5}}
"""
NARROWED = "parameters.recipe={values: [supervised, dual_branch]}"


def test_parameters_that_no_config_has_any_more_are_left_out(load):
    space = load(TEXT, overrides=[NARROWED])
    assert list(space.parameters) == ["recipe", "batch_size"]
    assert space.parameters["batch_size"].when == {"recipe": ("dual_branch",)}
    assert space.forbid == ({"recipe": ("supervised",), "batch_size": (8,)},)
    assert space.settings.references == ()
    assert make_space(space.canonical()) == space


def test_a_narrowed_space_has_the_configs_of_the_whole_one_that_are_left(load):
    left = {point.id for point in load(TEXT, overrides=[NARROWED]).configs()}
    whole = load(TEXT)
    assert left == {point.id for point in whole.configs() if point.values["recipe"] != "mean_teacher"}


@pytest.mark.parametrize(("override", "strata"), [("parameters.recipe=mean_teacher", None), (NARROWED, "recipe")])
def test_nothing_is_stratified_by_a_fixed_parameter(load, override, strata):
    space = load(TEXT, overrides=[override])
    assert space.settings.scheduler.stratify == strata
    assert make_space(space.canonical()) == space


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([NARROWED, "parameters.teacher_decay.when.recipe=mean_teacher"], "can never hold: recipe is supervised, dual"),
        (["scheduler.stratify=recipes"], "unknown parameter with values. Did you mean 'recipe'?"),
    ],
)
def test_a_condition_of_an_override_itself_must_be_possible(problems, overrides, message):
    (problem,) = problems(TEXT, overrides=overrides)
    assert message in problem
