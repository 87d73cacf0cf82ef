"""Published figures in a space: what is checked, what is kept, and that they decide nothing."""

import pytest

from search.commands.launch_record import check_run, record_launch
from search.runs.journal import Journal
from search.runs.run_folder import Run
from spaces.load import make_space
from spaces.summary import summary

TEXT = """\
name: small
data: somewhere
parameters:
  loss: {values: [iou, dice]}
  attention: {values: [scse, none]}
  pc: 3
references:
  - source: A text
    where: {loss: dice, attention: none}
    scores: {miou: 0.679, iou_foreground: 0.53}
    note: other folds
  - {source: A text, scores: {dice_RV: 0.88}}
"""
MISTAKES = [  # text of the space, its replacement, and the problem
    ("source: A text\n", "source: ''\n", "8: references.0.source = '': must not be empty"),
    (
        "note: other",
        "nte: other",
        "11: references.0.nte = 'other folds': unknown key of references. Did you mean 'note'?",
    ),
    (
        "loss: dice",
        "los: dice",
        "9: references.0.where.los = 'dice': unknown parameter of this space. Did you mean 'loss'?",
    ),
    (
        "loss: dice",
        "loss: dise",
        "9: references.0.where.loss = 'dise': can never hold: loss is iou, dice. Did you mean",
    ),
    ("loss: dice", "pc: 2", "9: references.0.where.pc = 2: can never hold: pc is 3"),
    ("{loss: dice, attention: none}", "dice", "9: references.0.where = 'dice': must be a mapping of keys"),
    ("miou: 0.679", "miuo: 0.679", "10: references.0.scores.miuo = 0.679: unknown metric. Did you mean 'miou'?"),
    ("0.679", "67.9", "10: references.0.scores.miou = 67.9: must be less than or equal to 1"),
    ("0.679", "-0.1", "10: references.0.scores.miou = -0.1: must be greater than or equal to 0"),
    ("{miou: 0.679, iou_foreground: 0.53}", "{}", "10: references.0.scores = {}: must not be empty"),
    ("{source: A text, scores: {dice_RV: 0.88}}", "3", "12: references.1 = 3: must be a mapping of keys"),
    ("{source: A text, scores: {dice_RV: 0.88}}", "{source: A text}", "12: references.1.scores: is required"),
]


@pytest.mark.parametrize(("old", "new", "problem"), MISTAKES)
def test_a_mistake_is_reported_with_its_line(problems, old, new, problem):
    (found,) = problems(TEXT, old, new)
    assert found.startswith(problem)


def test_all_mistakes_are_listed_at_once(problems):
    text = TEXT.replace("loss: dice", "los: dice").replace("{dice_RV: 0.88}", "{dice_RV: 88}")
    assert [problem.split(":")[0] for problem in problems(text)] == ["9", "12"]


def test_values_that_no_config_has_together_are_a_mistake(problems):
    (found,) = problems(TEXT + "forbid: [{loss: dice, attention: none}]\n")
    assert found == (
        "9: references.0.where = {loss: 'dice', attention: 'none'}: no config of this space has these values together"
    )


@pytest.mark.parametrize("override", ["parameters.loss=iou", "forbid=[{loss: dice}]"])
def test_figures_for_configs_that_an_override_takes_away_are_left_out(load, override):
    space = load(TEXT, overrides=[override])
    assert [list(each.scores) for each in space.settings.references] == [["dice_RV"]]
    assert make_space(space.canonical()) == space


def test_a_space_keeps_them_when_it_is_written_and_read(load):
    space = load(TEXT)
    first, second = space.canonical()["references"]
    assert first["where"] == {"loss": ["dice"], "attention": [None]} and second["where"] == {}
    assert first["scores"] == {"miou": 0.679, "iou_foreground": 0.53} and first["note"] == "other folds"
    assert make_space(space.canonical()) == space


def test_a_space_without_them_is_written_as_before(load):
    assert "references" not in load().canonical()


def test_they_may_change_when_a_run_is_resumed(load, tmp_path):
    run = Run(tmp_path / "run")
    with Journal(run.journal):
        record_launch(run, load(TEXT), None)
    for text in (TEXT.replace("0.679", "0.7"), TEXT[: TEXT.index("references")]):
        check_run(load(text), run, None, force_code=False)
    assert load(TEXT).configs() == load(TEXT[: TEXT.index("references")]).configs()


def test_the_summary_counts_them(load):
    assert ("references", "3 published figures for 2 settings: A text") in summary(load(TEXT))
    long = "A text with a title " * 20
    (line,) = [
        text for label, text in summary(load(TEXT, "A text\n", f"{long}\n")) if "1 setting" in text and "..." in text
    ]
    assert len(line) <= 84
