"""Searches that grow: what may change in a space of a run, what is refused, and that nothing is trained twice."""

import json

import pytest
from study_files import open_study

from search.policies.registry import policy_of
from search.runs.journal import read_journal
from search.runs.recovery import recover
from search.runs.run_tables import read_run
from search.runs.status import status_of
from search.runs.study import verdicts
from trainable.errors import UserError

SPACE = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.75]}
  steps: 4
  evaluations: 4
scheduler: grid
"""
RANDOM = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {min: 0.5, max: 0.9}
  kind: {values: [a, b, c]}
  steps: 2
  evaluations: 2
sampler: {name: random, count: 2, seed: 3}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text(SPACE)
    (tmp_path / "random.yaml").write_text(RANDOM)


def parameters(run):
    return [dict(entrant.parameters) for entrant in status_of(run).score_table.entrants.values()]


def complete(run):
    table = status_of(run).score_table
    return [config for config in table.entrants if table.complete(config)]


def launch(search, *changes, file="demo.yaml"):
    return search("launch", file, *(word for change in changes for word in ("--set", change)))


def test_more_values_add_configs_and_what_was_trained_stays(search, run):
    assert launch(search).exit_code == 0
    before = run.journal.read_bytes()
    done = launch(search, "parameters.quality.values=[0.70, 0.72, 0.75, 0.8]")
    assert done.exit_code == 0 and "the space has changed: parameters.quality.values: " in done.stderr, done.output
    assert run.journal.read_bytes().startswith(before), "the journal only grows"
    assert [each["quality"] for each in parameters(run)] == [0.70, 0.75, 0.72, 0.8]
    assert len(complete(run)) == 4
    reports = [
        tuple(line.fields[key] for key in ("config", "fold", "step")) for line in run.lines() if line.kind == "report"
    ]
    assert len(reports) == len(set(reports)) == 4 * 2 * 4
    assert verdicts(policy_of(run.space()), run.lines()) == []
    (changed,) = [line.fields["changes"] for line in run.lines() if line.kind == "space"]
    assert "parameters.quality.values" in changed[0]
    assert "nothing left to run" in launch(search, "parameters.quality.values=[0.70, 0.72, 0.75, 0.8]").stderr


def test_a_longer_horizon_is_a_block_of_new_configs_beside_the_old_ones(search, run):
    launch(search)
    done = launch(search, "parameters.steps={values: [4, 8]}")
    assert done.exit_code == 0, done.output
    horizons = [entrant.horizon for entrant in status_of(run).score_table.entrants.values()]
    assert horizons == [4, 4, 8, 8] and len(complete(run)) == 4
    assert [each["steps"] for each in parameters(run)] == [4, 4, 8, 8], "earlier configs have the value they had"
    tables = read_run(run)
    assert tables.left_out == () and list(tables.configs["steps"]) == [4, 4, 8, 8]
    assert launch(search, "parameters.steps={values: [4, 8]}").exit_code == 0


def test_a_parameter_that_was_fixed_can_be_searched_and_the_journal_be_rebuilt(search, run):
    launch(search)
    assert launch(search, "parameters.learning_rate={values: [5e-3, 1e-2]}").exit_code == 0
    assert [each["learning_rate"] for each in parameters(run)] == [0.005, 0.005, 0.01, 0.01], "0.005 is the default"
    before = {config: status_of(run).score_table.scores(config) for config in complete(run)}
    recover(run, run.space())
    assert {config: status_of(run).score_table.scores(config) for config in complete(run)} == before
    assert [each["learning_rate"] for each in parameters(run)] == [0.005, 0.005, 0.01, 0.01]


def test_a_sampler_draws_more_configs_from_a_wider_space(search, run):
    launch(search, file="random.yaml")
    first = parameters(run)
    wider = ("sampler.count=5", "parameters.quality.max=0.95", "parameters.kind.values=[a, b, c, d]")
    assert launch(search, *wider, file="random.yaml").exit_code == 0
    assert parameters(run)[:2] == first and len(complete(run)) == 5
    with pytest.raises(UserError, match=r"sampler\.count: 5 -> 4"):
        launch(search, "sampler.count=4", *wider[1:], file="random.yaml")


def test_an_optuna_study_is_written_again_when_a_choice_has_more_values(search, run):
    tpe = ("sampler.name=tpe", "sampler.count=1")
    launch(search, *tpe, file="random.yaml")
    done = launch(
        search, "sampler.name=tpe", "sampler.count=2", "parameters.kind.values=[a, b, c, d]", file="random.yaml"
    )
    assert done.exit_code == 0 and "cannot be written" not in done.stderr
    study = open_study(run.folder / "optuna.db")
    assert {trial.user_attrs["config"] for trial in study.trials} == set(complete(run)) and len(complete(run)) == 2


def test_a_larger_budget_is_recorded(search, run):
    assert launch(search, "budget.trials=1").exit_code == 3
    assert launch(search, "budget.trials=2").exit_code == 3
    (changed,) = [line.fields["changes"] for line in run.lines() if line.kind == "space"]
    assert changed == ["budget.trials: 1 -> 2"]


REFUSED = [
    ("folds=3", r"folds: 2 -> 3 \(another number of folds puts images into other folds, so no trained fold"),
    ("fold_seed=1", r"fold_seed: 0 -> 1 \(another seed"),
    (
        "parameters.steps=8",
        r"parameters.steps: 4 -> 8; config \w+, which the run has, is not one of this space; "
        r"to search both: parameters.steps={values: \[4, 8\]}",
    ),
    ("parameters.quality.values=[0.75, 0.8]", r"0\.75, 0\.8.*; config \w+, which the run has"),
    ("parameters.quality=0.7", "which the run has, is not one of this space"),
    ("forbid=[{quality: 0.7}]", "which the run has, is not one of this space"),
    ("metric=dice", "metric.name: 'miou' -> 'dice'"),
    ("scheduler=asha", "scheduler.name: 'grid' -> 'asha'"),
    ("sampler={name: random, count: 4}", "sampler.name: 'grid' -> 'random'"),
    (
        "parameters.learning_rate={values: [5e-3, 1e-2], when: {quality: 0.7}}",
        "a parameter that was fixed cannot be searched under a condition",
    ),
]


def test_what_would_make_trained_folds_invalid_is_refused_with_the_difference(search, run):
    launch(search, "budget.trials=1")
    before = run.journal.read_bytes(), (run.folder / "space.yaml").read_bytes()
    for change, message in REFUSED:
        with pytest.raises(UserError, match=rf"was launched with a different space: .*{message}"):
            launch(search, "budget.trials=1", change)
        assert (run.journal.read_bytes(), (run.folder / "space.yaml").read_bytes()) == before, change


def test_a_launch_that_dies_after_recording_growth_grows_or_goes_back(search, run, monkeypatch):
    launch(search)

    class Killed(BaseException):
        """As if by SIGKILL."""

    def die(*arguments):
        raise Killed

    grown = "parameters.learning_rate={values: [5e-3, 1e-2]}"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("search.commands.launch.record_launch", die)
        launch(search, grown)
    assert any(line.kind == "space" for line in read_journal(run.journal))
    assert "nothing left to run" in launch(search).stderr
    assert launch(search, grown).exit_code == 0 and len(complete(run)) == 4


def test_the_report_lists_how_a_run_has_grown(search, run):
    from analysis.report.costs import provenance

    launch(search)
    launch(search, "parameters.quality.values=[0.70, 0.75, 0.8]")
    text = json.dumps([str(part) for part in provenance(read_run(run)).blocks])
    assert "changed on" in text and "parameters.quality.values" in text and "keep: race" in text
