"""The simulated cluster, the tables it reads, and the replay command."""

import csv
import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from search.__main__ import app
from search.policies.grid import Grid
from search.policies.registry import scheduler
from search.replay.comparison import replay_outcome
from search.replay.curve_tables import find_tables, read_table
from search.replay.generated_worlds import RECIPES, make_world
from search.replay.recorded_study import study_from_table
from search.replay.simulation import simulate
from trainable.errors import UserError
from trainable.exit_codes import run as run_program

KEYS = {"scheduler", "cost", "wall", "regret", "p_best", "p_top3", "set_coverage", "set_size"}


def small(configs=3, folds=2, steps=4, seconds=10.0):
    rows = [
        (f"c{c}", f, s, 0.5 + 0.01 * c + 0.1 * f + 0.001 * s, seconds * s, "iou" if c % 2 else "dice")
        for c in range(configs)
        for f in range(folds)
        for s in range(1, steps + 1)
    ]
    return pd.DataFrame(rows, columns=["config", "fold", "step", "score", "seconds", "loss"])


def rows(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments), "--format", "json", "--processes", "1"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_wall_clock_and_gpu_seconds_of_a_grid_on_two_workers():
    study = study_from_table(small())
    # 3 x 2 fold trials of 40 s: 240 GPU-seconds, 3 rounds of 40 s on two workers.
    simulated = simulate(Grid(study.entrants, study.folds), study.curves, workers=2)
    assert (simulated.seconds, simulated.wall) == (240.0, 120.0)


def test_replay_prints_the_documented_keys(tmp_path):
    small().to_csv(tmp_path / "curves.csv", index=False)
    found = rows("replay", tmp_path / "curves.csv", "--workers", "2")
    assert [row["scheduler"] for row in found] == ["grid", "asha", "halving", "foldrace"]
    assert all(set(row) == KEYS for row in found)
    assert found[0] == {
        "scheduler": "grid", "cost": 1.0, "wall": 120.0, "regret": 0.0, "p_best": 1.0, "p_top3": 1.0,
        "set_coverage": 1.0, "set_size": found[0]["set_size"],
    }  # fmt: skip


@pytest.mark.parametrize("minimize", [False, True])
def test_names_scales_and_units_of_a_table_make_no_difference(tmp_path, minimize):
    curves = make_world(RECIPES["mild"], 3).query("config < 'c08' and step % 10 == 0")
    curves.to_csv(tmp_path / "plain.csv", index=False)
    scale = -100 if minimize else 0.01
    foreign = curves.assign(
        config="svm.rbf: " + curves["config"], score=7 + scale * curves["score"], cost=curves["seconds"] * 3600
    ).drop(columns="seconds")
    foreign.to_csv(tmp_path / "foreign.csv", index=False)
    options = ["--scheduler", "foldrace", "--scheduler", "halving"]
    found = rows("replay", tmp_path / "foreign.csv", *options, *(["--minimize"] if minimize else []))
    for row, other in zip(found, rows("replay", tmp_path / "plain.csv", *options), strict=True):
        assert row.pop("regret") == pytest.approx(abs(scale) * other.pop("regret"))
        assert row.pop("wall") == pytest.approx(3600 * other.pop("wall"))
        assert row == pytest.approx(other)


def test_the_unit_of_wall_time_is_that_of_the_tables(tmp_path):
    small().to_csv(tmp_path / "timed.csv")
    small().rename(columns={"seconds": "cost"}).to_parquet(tmp_path / "paid.parquet")
    for tables, title in (
        (["timed.csv"], "wall, s "),
        (["paid.parquet"], "wall, in units of cost "),
        (["timed.csv", "paid.parquet"], "wall, s and units of cost, mixed "),
        (["--worlds", "mild", "--count", "1"], "wall, s "),
    ):
        paths = [str(tmp_path / each) if each.endswith(("csv", "parquet")) else each for each in tables]
        done = CliRunner().invoke(app, ["replay", *paths, "--scheduler", "random", "--processes", "1"])
        assert done.exit_code == 0 and title in done.stdout.splitlines()[1] + " "


def test_a_set_with_a_config_as_good_as_the_best_holds_the_best():
    frame = small(configs=2)
    frame.loc[frame.config == "c1", "score"] = frame.loc[frame.config == "c0", "score"].to_numpy()
    study = study_from_table(frame)
    outcome = replay_outcome(replace(study, entrants=study.entrants[::-1]), "halving", 1, 0)
    assert (outcome.p_best, outcome.set_coverage) == (1.0, 1.0)


def test_a_folder_means_all_of_its_tables_and_csv_equals_parquet(tmp_path):
    for seed in (1, 2):
        make_world(RECIPES["mild"], seed).query("config < 'c06' and step % 10 == 0").to_csv(
            tmp_path / f"{seed}.csv", index=False
        )
    (tmp_path / "notes.txt").write_text("not a table")
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    for path in find_tables([tmp_path]):
        pd.read_csv(path).to_parquet(parquet / f"{path.stem}.parquet")
    assert len(find_tables([tmp_path])) == 2
    assert rows("replay", tmp_path) == rows("replay", parquet)


def test_repeats_and_seeds_are_the_same_for_every_scheduler(tmp_path):
    make_world(RECIPES["mild"], 1).query("config < 'c06' and step % 10 == 0").to_csv(tmp_path / "t.csv")
    pair = rows("replay", tmp_path, "--scheduler", "foldrace", "--scheduler", "random", "--repeats", 3)
    alone = rows("replay", tmp_path, "--scheduler", "random", "--repeats", 3)
    assert pair[1:] == alone
    assert rows("replay", tmp_path, "--scheduler", "random", "--repeats", 3, "--seed", 9) != alone


def test_foldrace_finds_a_top_config_of_generated_worlds_for_a_quarter_of_the_cost():
    row = rows("replay", "--worlds", "factorial", "--count", 3, "--scheduler", "foldrace")[0]
    assert row["cost"] < 0.26
    assert row["p_top3"] == 1.0


def test_batch_12_costs_twice_batch_6():
    world = make_world(RECIPES["mild"], 0)
    last = world[world.step == 100].groupby("batch_size")["seconds"].first()
    assert last[12] == 2 * last[6]


def test_a_nan_score_is_the_worst_and_cannot_win(tmp_path):
    frame = small()
    frame.loc[(frame.config == "c2") & (frame.fold == 1) & (frame.step == 2), "score"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False, na_rep="nan")
    assert read_table(tmp_path / "t.csv").means()["c2"] == float("-inf")
    assert rows("replay", tmp_path)[0]["regret"] == 0.0


def test_a_config_without_all_folds_is_skipped():
    frame = small(configs=3)
    study = study_from_table(frame[~((frame.config == "c1") & (frame.fold == 1) & (frame.step > 2))])
    assert [entrant.config for entrant in study.entrants] == ["c0", "c2"]
    assert study.incomplete == ("config c1: fold 1 has different steps from the other folds",)


@pytest.mark.parametrize("name", ["grid", "asha", "halving", "foldrace"])
def test_folds_that_stopped_early_are_replayed_until_their_last_report(name):
    frame = small(configs=6, steps=8)
    early = [("c1", 0, 1), ("c2", 0, 4), ("c4", 0, 7), ("c5", 1, 3)]
    for config, fold, last in early:  # its last score is reported at the horizon, as a run does
        cell = (frame.config == config) & (frame.fold == fold)
        frame = frame[~(cell & (frame.step > last))]
        frame.loc[cell & (frame.step == last), "step"] = 8
    study = study_from_table(frame)
    assert len(study.entrants) == 6
    policy = scheduler(name)(study.entrants, study.folds)
    simulated = simulate(policy, study.curves, workers=2)
    assert simulated.seconds == policy.score_table.spent <= study.seconds
    assert policy.score_table.complete(policy.answer().winner)


def set_value(column, row, value):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


BAD = {
    "row 3, column 'score': 'high' is not a number": set_value("score", 2, "high"),
    "row 4, column 'score': '' is not a number": set_value("score", 3, ""),
    "row 1, column 'fold': '0.5' must be an integer of at least 0": set_value("fold", 0, "0.5"),
    "row 1, column 'step': '0.0' must be an integer of at least 1": set_value("step", 0, "0"),
    "row 2, column 'seconds': '1.0' is less than at the previous step": set_value("seconds", 1, "1"),
    "row 5, column 'seconds': '-3.0' must be 0 or more": set_value("seconds", 4, "-3"),
    "row 2, column 'config': '' is empty": set_value("config", 1, ""),
    "row 2, column 'step': '1' appears twice": set_value("step", 1, "1"),
    "row 3, column 'loss': 'iou' differs within a config": set_value("loss", 2, "iou"),
    "column 'score' is missing. Did you mean 'scores'?": lambda f: f.rename(columns={"score": "scores"}),
    "the table has no rows": lambda f: f.head(0),
    "fewer than two configs have all folds at full length": lambda f: f[f.config == "c0"],
    "the time of every config is 0": lambda f: f.assign(seconds=0),
}


@pytest.mark.parametrize("message", BAD)
def test_the_error_of_a_wrong_table_names_file_row_and_column(tmp_path, message):
    path = tmp_path / "wrong.csv"
    BAD[message](small()).to_csv(path, index=False)
    with pytest.raises(UserError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_usage_error_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.parquet").write_text("not parquet")
    for arguments, message in [
        ([tmp_path / "nothing.csv"], "no such file or folder"),
        ([tmp_path / "broken.parquet"], "not a readable parquet table"),
        (["--worlds", "mild", "--scheduler", "foldrance"], "Did you mean 'foldrace'?"),
        (["--worlds", "mil"], "Did you mean 'mild'?"),
        ([], "needs either tables or --worlds"),
    ]:
        monkeypatch.setattr(sys, "argv", ["search", "replay", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_program(app)
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, ""), arguments
        assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_the_command_prints_only_data_on_stdout(tmp_path):
    small().to_parquet(tmp_path / "t.parquet")
    done = CliRunner().invoke(app, ["replay", str(tmp_path / "t.parquet"), "--scheduler", "grid", "--format", "csv"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert next(csv.DictReader(done.stdout.splitlines()))["scheduler"] == "grid"
