"""Models of fold trials: trained again when they are lost, removed when nobody needs them, finished when asked for."""

import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.policies.registry import policy_of
from search.runs.fold_models import decisions, how_to_finish
from search.runs.ledger import ledger
from search.runs.run_folder import Run
from search.runs.status import status_of
from search.runs.study import verdicts
from trainable.errors import FoldFailed, StorageFull, UserError
from trainable.storage.checked_json import read_checked, write_checked

SPACE = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.71, 0.75, 0.76]}
  steps: 4
  evaluations: 4
  step_seconds: 0.001
scheduler: foldrace
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text(SPACE)


def config_of(run, quality):
    return next(config for config, entrant in entrants(run).items() if entrant.parameters["quality"] == quality)


def entrants(run):
    return status_of(run).score_table.entrants


def models(run):
    """The (config, fold) whose checkpoint is there."""
    return {(path.parts[-3], int(path.parts[-2][5:])) for path in run.folder.glob("configs/*/fold_*/last.json")}


def scores(run):
    table = status_of(run).score_table
    return {(c, f): table.full(c, f) for c in table.entrants for f in range(table.folds)}


def complete(run):
    table = status_of(run).score_table
    return [config for config in table.entrants if table.complete(config)]


def test_a_lost_model_is_trained_again_by_the_same_launch(search, run):
    first = search("launch", "demo.yaml")
    before, spent = scores(run), status_of(run).score_table.spent
    assert first.exit_code == 0 and "lost" not in first.stderr
    winner = config_of(run, 0.76)
    lost = run.fold_folder(winner, 1)
    for path in lost.iterdir():
        path.unlink()
    lost.rmdir()
    again = search("launch", "demo.yaml")
    assert again.exit_code == 0, again.output
    assert f"lost: the models of 1 fold trial ({winner} fold 1), which are trained again" in again.stderr
    assert (winner, 1) in models(run) and scores(run) == before
    status = status_of(run)
    assert status.trials[winner, 1].state == "done" and status.score_table.spent > spent, "the time counts"
    accounts = ledger(run.lines()).accounts
    assert accounts[winner, 1].state == "done" and accounts[winner, 1].lost > 0 == accounts[winner, 0].lost
    assert "nothing left to run" in search("launch", "demo.yaml").stderr
    assert verdicts(policy_of(run.space()), run.lines()) == []


def test_a_run_that_dies_while_it_trains_a_lost_model_goes_on_with_it(search, run, monkeypatch):
    search("launch", "demo.yaml")
    winner = config_of(run, 0.76)
    for fold in range(2):
        (run.fold_folder(winner, fold) / "last.json").unlink()

    class Killed(BaseException):
        """As if by SIGKILL."""

    def die(self, report):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("search.runs.study.Study.report", die)
        search("launch", "demo.yaml")
    assert status_of(run).trials[winner, 0].state == "done", "no driver is running, and the score is known"
    assert search("launch", "demo.yaml").exit_code == 0
    assert {(winner, 0), (winner, 1)} <= models(run)


def test_finish_trains_the_folds_that_a_race_left_out_and_keeps_them(search, run):
    search("launch", "demo.yaml")
    loser = config_of(run, 0.70)
    assert loser not in complete(run)
    unfinished = scores(run)
    done = search("finish", "demo", "--config", loser[:6])
    assert done.exit_code == 0, done.output
    assert f"Next: python -m analysis ensemble runs/demo --config {loser}" in done.stderr
    assert loser in complete(run) and {(loser, 0), (loser, 1)} <= models(run)
    assert {cell: score for cell, score in scores(run).items() if unfinished[cell] is not None}.items() <= (
        unfinished.items()
    )
    assert search("launch", "demo.yaml", "--set", "keep=winners").exit_code == 0
    assert {(loser, 0), (loser, 1)} <= models(run), "a person chose it"
    (run.fold_folder(loser, 0) / "last.json").unlink()
    assert f"{loser} fold 0" in search("launch", "demo.yaml").stderr and (loser, 0) in models(run)
    again = search("finish", "demo", "--config", loser)
    assert again.exit_code == 0 and f"config {loser} has all its folds and their models" in again.stderr
    assert verdicts(policy_of(run.space()), run.lines()) == []


def test_finish_is_not_limited_by_the_budget_and_the_search_resumes_after_it(search, run):
    hook = shlex.join([sys.executable, "-c", "import sys; open('told.json', 'w').write(sys.stdin.read())"])
    budget = ("--set", "budget={trials: 1, gpu_hours: 1e-9}", "--set", f"on_end={json.dumps(hook)}")
    stopped = search("launch", "demo.yaml", *budget)
    assert stopped.exit_code == json.loads(Path("told.json").read_text())["exit_code"] == 3
    config = next(iter(entrants(run)))
    assert search("finish", "demo", "--config", config).exit_code == 0
    assert json.loads(Path("told.json").read_text())["exit_code"] == 0
    assert complete(run) == [config]
    assert search("launch", "demo.yaml").exit_code == 0
    assert len(complete(run)) > 1


def test_finish_needs_one_config_that_has_not_failed(search, run):
    settings = ("--set", "parameters.fault=nan", "--set", "parameters.fault_step=2", "--set", "budget.trials=1")
    search("launch", "demo.yaml", *settings)
    (failed,) = status_of(run).score_table.failed
    for config, message in (
        ("x", "no configs of runs/demo start with it"),
        ("", "4 configs of runs/demo start with it"),
        (failed, f"config {failed}: failed in fold 0, so it cannot be finished"),
    ):
        with pytest.raises(UserError, match=message):
            search("finish", "demo", "--config", config)


@pytest.mark.parametrize("root", ["runs", "other runs"])
def test_printed_commands_find_the_run(search, tmp_path, root):
    assert search("launch", "demo.yaml", "--runs", root, "--set", "name=mine").exit_code == 0
    run = Run((tmp_path / root / "mine").relative_to(tmp_path))
    quoted = f"'{root}'" if " " in root else root
    assert run.command("finish", "--config", "3f") == f"python -m search finish mine --config 3f --runs {quoted}"
    space = f"'{root}/mine/space.yaml'" if " " in root else f"{root}/mine/space.yaml"
    assert run.resume_command == f"python -m search launch {space} --runs {quoted}"


@pytest.mark.parametrize("name", ["newname", "2024", "1e5"])
def test_a_run_folder_that_was_renamed_is_resumed_under_its_new_name(search, tmp_path, name):
    assert search("launch", "demo.yaml", "--set", "budget.trials=1").exit_code == 3
    (tmp_path / "runs/demo").rename(tmp_path / f"runs/{name}")
    run = Run((tmp_path / f"runs/{name}").relative_to(tmp_path))
    done = search(*shlex.split(run.resume_command)[3:], "--set", "budget.trials=2")
    assert done.exit_code == 3 and not (tmp_path / "runs/demo").exists(), done.output
    assert search("finish", name, "--config", next(iter(entrants(run)))).exit_code == 0


def test_when_the_race_is_over_only_complete_configs_keep_weights(search, run):
    done = search("launch", "demo.yaml")
    assert {config for config, _ in models(run)} == set(complete(run)) != set(entrants(run))
    dropped = set(entrants(run)) - set(complete(run))
    assert re.search(rf"keep: race: removed \d.* of {len(dropped)} configs? that can no longer win", done.stderr)
    assert done.stderr.count("removed") == 1 and "removed" in search("watch", "demo", "--plain").stderr
    assert decisions(run.lines()).dropped == dict.fromkeys(dropped, "race")
    for config in dropped:
        assert {"metrics.jsonl", "log.txt"} <= {path.name for path in run.fold_folder(config, 0).iterdir()}
    assert "removed" not in search("launch", "demo.yaml").stderr


def test_what_trains_little_or_nothing_starts_on_a_disk_without_room_for_the_whole_run(search, run, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**6))

    def launch(*words):
        return search("launch", "demo.yaml", "--set", "scheduler=grid", *words)

    assert launch("--set", "budget.trials=2").exit_code == 3
    write_checked(run.folder / "plan.json", {"disk": {"most": 10**9, "config": 10**5}, "space": "demo"})
    with pytest.raises(UserError, match="may need 1 GB more disk space"):
        launch()
    config = next(iter(entrants(run)))
    assert search("finish", "demo", "--config", config).exit_code == 0
    with pytest.raises(UserError, match="may need 1 GB more disk space"):
        launch()
    (run.folder / "plan.json").unlink()
    assert launch().exit_code == 0
    write_checked(run.folder / "plan.json", {"disk": {"most": 10**9, "config": 10**5}, "space": "demo"})
    assert "nothing left to run" in launch().stderr


def test_every_config_keeps_its_weights_if_that_is_asked_for(search, run):
    done = search("launch", "demo.yaml", "--set", "keep=all")
    assert {config for config, _ in models(run)} == set(entrants(run)) and "removed" not in done.stderr
    search("launch", "demo.yaml")
    assert {config for config, _ in models(run)} == set(entrants(run)), "the rule of the run stays"
    search("launch", "demo.yaml", "--set", "keep=race")
    assert {config for config, _ in models(run)} == set(complete(run))


def test_of_complete_configs_only_those_that_may_be_the_best_stay_with_winners(search, run):
    noise = ("--set", "parameters.quality.values=[0.3, 0.75, 0.76]")
    search("launch", "demo.yaml", "--set", "scheduler=grid", "--set", "keep=winners", *noise)
    policy = status_of(run).policy
    assert {config for config, _ in models(run)} == set(policy.answer().peers) < set(complete(run))
    assert config_of(run, 0.3) not in policy.answer().peers


def test_a_run_of_an_earlier_version_keeps_all_weights(search, run):
    search("launch", "demo.yaml", "--set", "keep=all")
    space = read_checked(run.folder / "space.yaml")
    del space["keep"]
    (run.folder / "space.yaml").write_text(json.dumps(space))
    search("launch", "demo.yaml")
    assert {config for config, _ in models(run)} == set(entrants(run))


def test_while_the_race_can_go_on_only_failed_configs_lose_weights(search, run):
    settings = ["parameters.quality=0.7", "parameters.fault={values: [none, nan]}", "parameters.fault_step=3"]
    settings += ["scheduler=grid", "budget.trials=2"]
    search("launch", "demo.yaml", *(word for each in settings for word in ("--set", each)))
    (failed,) = status_of(run).score_table.failed
    assert list(decisions(run.lines()).dropped) == [failed]
    assert models(run) == {(config, 0) for config in entrants(run) if config != failed}


def test_a_removal_that_was_cut_short_is_ended_by_the_next_launch(search, run, monkeypatch):
    class Killed(BaseException):
        """As if by SIGKILL."""

    def removes_one(self, names):
        cell, files = next(iter(names.items()))
        for name in files:
            (self.fold_folder(*cell) / name).unlink()
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Run, "remove_fold_files", removes_one)
        search("launch", "demo.yaml", "--set", "scheduler=halving", "--set", "scheduler.quotas=[1]")
    assert decisions(run.lines()).dropped, "the journal has the decision before a file is gone"
    assert len(models(run)) > len(complete(run)) * 2
    search("launch", "demo.yaml", "--set", "scheduler=halving", "--set", "scheduler.quotas=[1]")
    assert {config for config, _ in models(run)} == set(complete(run))


def test_a_store_that_cannot_be_listed_does_not_hold_a_run_up(search, run, monkeypatch):
    def unreachable(self, cells):
        raise StorageFull("s3://bucket: cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "fold_files", unreachable)
        done = search("launch", "demo.yaml")
    assert done.exit_code == 0 and "the next launch looks for lost models and weights to remove" in done.stderr
    assert {config for config, _ in models(run)} == set(entrants(run))
    search("launch", "demo.yaml")
    assert {config for config, _ in models(run)} == set(complete(run))


def test_a_lost_model_that_fails_when_it_is_trained_again_does_not_change_the_result(search, run, monkeypatch):
    search("launch", "demo.yaml")
    winner, before, spent = config_of(run, 0.76), scores(run), status_of(run).score_table.spent
    (run.fold_folder(winner, 1) / "last.json").unlink()

    def fail(script, fold, step, folder):
        raise FoldFailed("nan", "the loss is not a number", step)

    with monkeypatch.context() as patch:
        patch.setattr("trainable.scripted._misbehave", fail)
        search("launch", "demo.yaml")
    assert scores(run) == before and not status_of(run).score_table.failed
    assert status_of(run).trials[winner, 1].state == "done" and status_of(run).score_table.spent == spent


def test_a_config_whose_weights_were_removed_is_finished_with_the_same_scores(search, run):
    search("launch", "demo.yaml")
    loser = config_of(run, 0.70)
    before = scores(run)
    assert decisions(run.lines()).dropped[loser] == "race" and (loser, 0) not in models(run)
    assert "its weights were removed when it could no longer win (keep: race)" in how_to_finish(run, loser)
    done = search("finish", "demo", "--config", loser)
    assert done.exit_code == 0, done.output
    assert {(loser, 0), (loser, 1)} <= models(run)
    after = scores(run)
    assert all(after[cell] == score for cell, score in before.items() if score is not None)
    assert loser not in decisions(run.lines()).dropped
