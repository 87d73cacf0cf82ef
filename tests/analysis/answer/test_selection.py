"""The winner, the incomplete configs, and the output of ``best``."""

import csv
import io
import json

import pytest
from scored_run import NAN, scored_run
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.answer.document import document
from analysis.answer.selection import default_config, scored_config, select, winner_of
from analysis.answer.summary_text import lines
from search.runs.run_tables import read_run
from trainable.errors import UserError

LOSSES = {"loss": {"values": ["iou", "dice"]}}
EVEN = [0.8, 0.8, 0.8]


def select_from(home, parameters, scores, **more):
    run, configs = scored_run(home, parameters, scores, **more)
    tables = read_run(run)
    return tables, select(tables), configs


def program(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_highest_mean_of_the_complete_configs_wins(tmp_path):
    _, selection, (_, dice) = select_from(tmp_path, LOSSES, [(EVEN, 1.0), ([0.7, 0.9, 0.86], 9.0)])
    assert selection.winner.config == dice and selection.winner.folds == (0.7, 0.9, 0.86)
    assert selection.winner.mean == pytest.approx(0.82)
    assert selection.winner.sd == pytest.approx(((0.12**2 + 0.08**2 + 0.04**2) / 2) ** 0.5)
    assert selection.winner.tied == () and selection.peers[0] == dice


def test_a_better_config_that_lacks_a_fold_does_not_win(tmp_path):
    _, selection, (iou, dice) = select_from(tmp_path, LOSSES, [(EVEN, 1.0), ([0.9, 0.9, None], 1.0)])
    assert selection.winner.config == iou
    assert [(each.config, each.folds, each.missing) for each in selection.incomplete] == [
        (dice, 2, "fold 2 not started")
    ]


def test_of_equal_means_the_cheaper_one_wins(tmp_path):
    _, selection, (iou, dice) = select_from(tmp_path, LOSSES, [(EVEN, 50.0), ([0.7, 0.8, 0.9], 40.0)])
    assert selection.winner.config == dice and selection.winner.tied == (iou,)


def test_of_equal_means_and_costs_the_one_with_fewer_unusual_choices_wins(tmp_path):
    scores = [(EVEN, 40.0), (EVEN, 40.1)]
    _, selection, (dice, iou) = select_from(tmp_path, {"loss": {"values": ["dice", "iou"]}}, scores)
    assert selection.winner.config == iou, "iou is the default, and a clock is not exact to a tenth of a second in 40"
    assert selection.winner.tied == (dice,)


def test_of_configs_that_are_equal_in_all_this_the_first_wins(tmp_path):
    scores = [(EVEN, 40.0), (EVEN, 40.0)]
    _, selection, (first, _) = select_from(tmp_path, {"pc": {"values": [1, 2]}}, scores)
    assert selection.winner.config == first


def test_missing_folds_of_incomplete_configs_are_described(tmp_path):
    parameters = {"pc": {"values": [1, 2, 3, 4]}}
    scores = [(EVEN, 1.0), ([0.9, (0.5,), None], 1.0), ([0.9, NAN, None], 1.0), ([None] * 3, 1.0)]
    _, selection, (_, paused, failed, never) = select_from(tmp_path, parameters, scores)
    told = {each.config: each.missing for each in selection.incomplete}
    assert told[paused] == "fold 1 paused at step 1 of 2 (paused: too far behind); fold 2 not started"
    assert told[failed] == "failed in fold 1: a score is not a number"
    assert told[never] == "folds 0, 1, 2 not started"


def test_best_lists_missing_folds_briefly_and_reasons_on_request(tmp_path):
    scores = [(EVEN, 1.0), ([0.9, (0.5,), None], 1.0), ([0.9, NAN, None], 1.0)]
    run, (_, paused, failed) = scored_run(tmp_path, {"pc": {"values": [1, 2, 3]}}, scores)
    brief, full = program("best", run.folder).stdout, program("best", run.folder, "--details").stdout
    row = next(line for line in brief.splitlines() if line.startswith(paused))
    assert "folds 1, 2" in row and "failed" in next(line for line in brief.splitlines() if line.startswith(failed))
    reason = f"{paused}: fold 1 paused at step 1 of 2 (paused: too far behind); fold 2 not started"
    assert reason in full and full.startswith(brief) and reason not in brief


def test_the_score_of_the_only_complete_config_is_not_called_corrected(tmp_path):
    tables, selection, _ = select_from(tmp_path, LOSSES, [(EVEN, 1.0), ([0.7, None, None], 1.0)])
    assert document(tables, selection)["corrected"] is None
    assert "only one config is complete, so its score cannot be corrected for being selected" in selection.notes


def test_inactive_parameters_and_small_numbers_are_readable(tmp_path):
    only = {"when": {"kind": "b"}}
    parameters = {
        "kind": {"values": ["a", "b"]},
        "kernels": {"values": [16], **only},
        "rate": {"values": [1e-7], **only},
    }
    run, (first, second) = scored_run(tmp_path, parameters, [(EVEN, 1.0), ([0.9, 0.8, 0.9], 1.0)])
    lines = program("best", run.folder).stdout.splitlines()
    assert any(line.startswith(first) and line.split()[-3:] == ["a", "–", "–"] for line in lines)
    assert any(line.startswith(second) and line.split()[-3:] == ["b", "16", "1e-07"] for line in lines)
    assert "(kind b, kernels 16, rate 1e-07)" in lines[0] and not any("None" in line for line in lines)
    rows = csv.DictReader(io.StringIO(program("best", run.folder, "--format", "csv").stdout))
    assert {row["config"]: row["kernels"] for row in rows} == {first: "", second: "16"}
    values = json.loads(program("best", run.folder, "--format", "json").stdout)["winner"]["values"]
    assert values == {"kind": "b", "kernels": 16, "rate": 1e-7} and isinstance(values["kernels"], int)
    differing = program("compare", run.folder, first, second, "--format", "json").stdout
    assert json.loads(differing)["parameters"]["kernels"] == {"a": None, "b": 16}
    text = program("compare", run.folder, first, second).output
    assert "kind a against b, kernels – against 16, rate – against 1e-07." in text


def test_steps_that_are_searched_are_shown_as_any_other_parameter(tmp_path):
    run, (short, long) = scored_run(tmp_path, {"steps": {"values": [2, 12000]}}, [(EVEN, 1.0), ([0.9, 0.8, 0.9], 1.0)])
    lines = program("best", run.folder).stdout.splitlines()
    assert lines[0] == f"The winner is {long} (steps 12000)."
    assert any(line.startswith(short) and line.split()[-1] == "2" for line in lines)
    tables = read_run(run)
    assert tables.parameters == ["steps"] and tables.configs["steps"].tolist() == [2, 12000]
    assert default_config(tables) == long


def test_a_failed_config_cannot_win_though_all_its_folds_were_scored(tmp_path):
    _, selection, (_, dice) = select_from(tmp_path, LOSSES, [([0.9, 0.9, NAN], 1.0), (EVEN, 1.0)])
    assert selection.winner.config == dice


def test_the_default_config_is_compared_with_the_winner(tmp_path):
    scores = [([0.9, 0.91, 0.92], 1.0), ([0.5, 0.52, 0.51], 1.0)]
    tables, selection, (dice, iou) = select_from(tmp_path, {"loss": {"values": ["dice", "iou"]}}, scores)
    assert selection.default == iou == default_config(tables)
    assert (selection.comparisons[-1].config, selection.comparisons[-1].other) == (dice, iou)
    assert selection.comparisons[-1].difference == pytest.approx(0.4)


def test_a_default_config_that_is_not_in_the_set_is_not_counted_in_it(tmp_path):
    scores = [([0.9 - worse, 0.91 - worse, 0.92 - worse], 1.0) for worse in (0, 0.05, 0.1, 0.15)]
    losses = {"loss": {"values": ["dice", "ce", "dice+bce", "tversky", "iou"]}}
    tables, selection, (*_, iou) = select_from(tmp_path, losses, [*scores, ([0.3, None, None], 1.0)])
    assert selection.comparisons[-1].other == iou and iou not in selection.peers
    assert "of the set" not in " ".join(lines(tables, selection))


def test_the_default_config_has_the_defaults_of_the_parameters_that_it_has(tmp_path):
    parameters = {"loss": {"values": ["dice", "iou"]}, "pc": {"values": [1, 2], "when": {"loss": "dice"}}}
    tables, _, (*_, iou) = select_from(tmp_path, parameters, [(EVEN, 1.0)] * 3)
    assert default_config(tables) == iou


def test_a_run_without_the_defaults_has_no_default_config(tmp_path):
    tables, selection, _ = select_from(tmp_path, {"pc": {"values": [1, 2]}}, [(EVEN, 1.0), (EVEN, 1.0)])
    assert default_config(tables) is None and selection.default is None


def test_the_winner_of_a_single_config_is_that_config(tmp_path):
    _, selection, (only,) = select_from(tmp_path, {"loss": "iou"}, [(EVEN, 1.0)])
    assert selection.winner.config == only and selection.peers == (only,)
    assert any("only one config" in note for note in selection.notes)


def test_a_config_is_named_by_the_start_of_its_id(tmp_path):
    run, (iou, _) = scored_run(tmp_path, LOSSES, [(EVEN, 1.0), (EVEN, 1.0)])
    tables = read_run(run)
    assert scored_config(tables, iou[:6]) == iou
    with pytest.raises(UserError, match=r"'nothing': no configs of .* start with it"):
        scored_config(tables, "nothing")
    with pytest.raises(UserError, match="2 configs"):
        scored_config(tables, "")


def test_best_as_json_keeps_its_contract(small_run):
    done = program("best", small_run.folder, "--format", "json")
    told = json.loads(done.stdout)
    winner = winner_of(read_run(small_run))
    assert set(told["winner"]) >= {"id", "config", "mean", "sd", "folds"} and {"set", "incomplete"} <= set(told)
    assert told["winner"]["id"] == winner.config and told["winner"]["mean"] == pytest.approx(winner.mean)
    assert told["winner"]["config"]["encoder"] == "test_resnet", "every hyperparameter, not only those searched"
    assert told["set"][0]["id"] == winner.config and told["incomplete"] == []
    assert told["corrected"]["estimate"] <= told["corrected"]["naive"] + 1e-9
    assert "Next: python -m analysis ensemble" in done.stderr


def test_best_prints_the_same_as_text_and_csv(small_run):
    winner = winner_of(read_run(small_run))
    assert f"The winner is {winner.config}" in program("best", small_run.folder).stdout
    rows = list(csv.DictReader(io.StringIO(program("best", small_run.folder, "--format", "csv").stdout)))
    assert len(rows) == 2 and rows[0]["config"] == winner.config and rows[0]["place"] == "winner"
    assert float(rows[0]["mean"]) == pytest.approx(winner.mean)


def test_without_a_complete_config_best_names_the_command_to_resume(tmp_path):
    run, _ = scored_run(tmp_path, LOSSES, [([0.8, 0.8, None], 1.0), ([None] * 3, 1.0)])
    done = program("best", run.folder)
    assert done.exit_code == 0 and "No config has all 3 folds at full length yet" in done.stdout
    assert f"python -m search launch {run.folder}/space.yaml" in done.stdout and "Next:" not in done.stderr
    told = json.loads(program("best", run.folder, "--format", "json").stdout)
    assert told["winner"] is None and len(told["incomplete"]) == 2
    with pytest.raises(UserError, match=r"no winner yet; python -m search launch .*space\.yaml --runs .* resumes"):
        program("ensemble", run.folder)


def test_unknown_numbers_are_null_in_json(tmp_path):
    tables, selection, _ = select_from(tmp_path, {"loss": "iou"}, [(EVEN, 1.0)])
    assert "NaN" not in json.dumps(document(tables, selection))


def test_ensemble_takes_the_winner_another_config_or_the_best_few(small_run, tmp_path):
    winner = winner_of(read_run(small_run)).config
    other = next(each for each in read_run(small_run).complete() if each != winner)
    for name, words, configs in (
        ("best", (), {winner}),
        ("other", ("--config", other[:8]), {other}),
        ("both", ("--top", 2, "--tta", "flips"), {winner, other}),
    ):
        done = program("ensemble", small_run.folder, *words, "--out", tmp_path / name, "--format", "json")
        told = json.loads(done.stdout)
        assert set(told["configs"]) == configs and len(told["members"]) == 3 * len(configs)
        assert (tmp_path / name / "ensemble.pt").exists()
    assert told["tta"] == "flips"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--tta", "twice"), "allowed are none and flips"),
        (("--top", 3), "only 2 configs with all 3 folds"),
        (("--top", 1, "--config", "a"), "exclude each other"),
        (("--config", "nothing"), "no configs of"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused(small_run, tmp_path, words, problem):
    with pytest.raises(UserError, match=problem):
        program("ensemble", small_run.folder, *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
