"""The study of a run in an Optuna storage: its contents, and errors of the storage."""

import math
import statistics

import optuna
import pytest
from sampled_run import Run, peak, space, tpe
from study_files import open_study

from search.messages import Entrant, Report
from search.race.score_table import ScoreTable
from search.samplers.config_outcome import values_by_step
from search.samplers.optuna_adapter import StoredStudy
from trainable.errors import UserError


def test_the_study_in_the_storage_shows_states_values_and_reasons(tmp_path):
    def score(values):
        return math.nan if values["quality"] < 0.55 else values["quality"]

    run = Run(tmp_path, space(sampler=tpe(16)), score)
    run.drive()
    score_table, study = run.policy.score_table, run.loaded()
    states = {state.name for state in (trial.state for trial in study.trials)}
    assert states == {"COMPLETE", "PRUNED", "FAIL"}
    latest = {trial.user_attrs["config"]: trial for trial in study.trials}
    assert latest.keys() == score_table.entrants.keys()
    for config, trial in latest.items():
        assert trial.params == score_table.entrants[config].parameters
        if trial.state.name == "COMPLETE":
            assert trial.value == pytest.approx(statistics.fmean(score_table.scores(config)))
            assert trial.intermediate_values == values_by_step(score_table, config)
        elif trial.state.name == "PRUNED":
            assert trial.user_attrs["reason"].startswith("paused")
            assert trial.value == list(trial.intermediate_values.values())[-1]
        else:
            assert config in score_table.failed and "not a number" in trial.user_attrs["reason"]
    assert study.best_trial.user_attrs["config"] == run.policy.answer().winner


def test_what_is_shown_at_the_end_does_not_depend_on_how_often_it_was_written(tmp_path, monkeypatch):
    """A paused config may go on and be paused again, and Optuna's trials cannot be changed after their end."""
    shown = []
    for name, note in (("always", StoredStudy.write), ("at the end", lambda study: None)):
        monkeypatch.setattr(StoredStudy, "note", note)
        (tmp_path / name).mkdir()
        run = Run(tmp_path / name, space(sampler=tpe(12)))
        run.drive()
        shown.append({each.user_attrs["config"]: (each.state, each.value) for each in run.loaded().trials})
    assert shown[0] == shown[1]


def test_a_metric_to_minimize_is_one_for_the_sampler_and_the_dashboard(tmp_path):
    runs = []
    for goal in ("maximize", "minimize"):
        (tmp_path / goal).mkdir()
        runs.append(Run(tmp_path / goal, space(sampler=tpe(12), metric={"name": "loss", "goal": goal})))
        runs[-1].drive()
    up, down = runs
    assert up.configs() == down.configs(), "the same proposals"
    assert down.loaded().direction.name == "MINIMIZE"
    values = {trial.user_attrs["config"]: trial.value for trial in up.loaded().trials}
    assert {trial.user_attrs["config"]: -trial.value for trial in down.loaded().trials} == values
    assert down.loaded().best_trial.user_attrs["config"] == down.policy.answer().winner


def test_at_the_same_step_intermediate_values_cover_the_same_folds(tmp_path):
    run = Run(tmp_path, space(sampler=tpe(3), scheduler="grid"), lambda values: 0.5)
    run.drive()
    first, *others = [values_by_step(run.policy.score_table, config) for config in run.policy.score_table.entrants]
    assert list(first) == [1, 2, 3, 4, 8, 12]
    score_table = ScoreTable(1)
    score_table.add(Entrant("long", tuple(range(1, 101))))
    for step in range(1, 51):
        score_table.record(Report("long", 0, step, 0.5, 1.0))
    assert list(values_by_step(score_table, "long")) == list(range(5, 51, 5)), "every fifth point of a long curve"
    for other in others:
        assert all(abs(other[step] - first[step]) < 0.02 for step in first), "they contain the same fold levels"


@pytest.mark.parametrize("damage", ["lost", "damaged", "outdated"])
def test_a_lost_damaged_or_outdated_study_is_rebuilt_from_the_journal(tmp_path, damage, capsys):
    run = Run(tmp_path, space(sampler=tpe(12)))
    run.drive(jobs=9)
    if damage == "outdated":
        (tmp_path / "before.db").write_bytes((tmp_path / "optuna.db").read_bytes())
        run.drive(jobs=4)
        (tmp_path / "before.db").replace(tmp_path / "optuna.db")
    elif damage == "lost":
        (tmp_path / "optuna.db").unlink()
    else:
        (tmp_path / "optuna.db").write_bytes(b"no database" * 100)
    run.drive()
    assert ("rebuilt from the journal" in capsys.readouterr().err) == (damage == "damaged")
    assert (tmp_path / "optuna.damaged.db").exists() == (damage == "damaged")
    latest = {trial.user_attrs["config"]: trial for trial in run.loaded().trials}
    assert latest.keys() == run.policy.score_table.entrants.keys()
    complete = {config for config, trial in latest.items() if trial.state.name == "COMPLETE"}
    assert complete == {config for config in latest if run.policy.score_table.complete(config)} != set()


def test_a_paused_config_that_resumes_and_completes_gets_a_second_trial(tmp_path):
    run = Run(tmp_path, space(sampler=tpe(2), scheduler="grid"), workers=1)
    run.drive(jobs=1)
    (trial,) = run.loaded().trials
    run.stored.storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.PRUNED, [0.5])
    run.drive()
    config = trial.user_attrs["config"]
    states = [trial.state.name for trial in run.loaded().trials if trial.user_attrs["config"] == config]
    assert states == ["PRUNED", "COMPLETE"]


def test_a_given_storage_is_used_and_the_study_of_another_run_in_it_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    shared_space = space(sampler=tpe(4, storage=url))
    Run(tmp_path / "one", shared_space).drive()
    assert len(open_study(tmp_path / "shared.db").trials) == 4
    assert not (tmp_path / "one/optuna.db").exists()
    with pytest.raises(UserError, match="contains a study 'demo' of another run; choose another name"):
        Run(tmp_path / "two", shared_space).drive()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "sampler.storage = nonsense: Could not parse"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("$ADDRESS", r"sampler.storage = foo://me:\*\*\*@host/db: Can't load plugin"),
        ("$NOWHERE", r"sampler.storage = \$NOWHERE: this environment variable is not set"),
        ("redis://localhost", "Can't load plugin"),
        ("postgresql://me@localhost/db", "Failed to import DB access module"),
    ],
)
def test_an_unusable_storage_is_reported_before_the_first_trial(tmp_path, url, message, monkeypatch):
    monkeypatch.setenv("ADDRESS", "foo://me:secret@host/db")
    with pytest.raises(UserError, match=message):
        Run(tmp_path, space(sampler=tpe(4, storage=url))).drive()
    assert not (tmp_path / "journal.jsonl").exists()


def test_an_error_of_the_storage_does_not_end_the_run_and_is_retried(tmp_path, monkeypatch, capsys):
    from optuna.storages import RDBStorage

    real, calls = RDBStorage.create_new_trial, [0]

    def flaky(self, *args, **kwargs):
        calls[0] += 1
        if 2 <= calls[0] <= 3:
            raise optuna.exceptions.StorageInternalError("the database is gone")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(RDBStorage, "create_new_trial", flaky)
    run = Run(tmp_path, space(sampler=tpe(5)))
    run.drive()
    assert "cannot be written (the database is gone); the run continues" in capsys.readouterr().err
    assert {trial.user_attrs["config"] for trial in run.loaded().trials} == run.policy.score_table.entrants.keys()


def test_a_study_that_is_deleted_in_the_dashboard_does_not_end_the_run_and_comes_back(tmp_path, capsys):
    calls = []

    def score(values):
        calls.append(values)
        if len(calls) == 6:
            optuna.delete_study(study_name="demo", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
        return peak(values)

    run = Run(tmp_path, space(sampler=tpe(3), scheduler="grid"), score)
    run.drive()
    assert "optuna.db: cannot be written ('Record does not exist.'); the run continues" in capsys.readouterr().err
    run.drive()
    assert [trial.state.name for trial in run.loaded().trials] == ["COMPLETE"] * 3


def test_optuna_prints_nothing(tmp_path, capsys):
    Run(tmp_path, space(sampler=tpe(4))).drive()
    output = capsys.readouterr()
    assert output.out == output.err == ""
