"""The learning curves of a run as a table, and replays of runs and of such tables."""

import csv
import json
import math

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from search.__main__ import app
from search.messages import Entrant, Finished, Report, Stop
from search.policies.registry import SCHEDULERS
from search.replay.curve_tables import find_tables, read_table
from search.replay.recorded_study import study_from_table
from search.replay.run_curves import curve_table, write_table
from search.runs.journal import Journal, read_journal
from search.runs.run_folder import SPACE
from search.runs.study import Study
from trainable.errors import UserError
from trainable.exit_codes import run as run_program
from trainable.storage.checked_json import read_lines, text_of

STEPS = (2, 4, 6, 8)
ENTRANTS = [
    Entrant(f"c{k}", STEPS, {"loss": "iou" if k % 2 else "dice", "pc": k / 2} | ({"warmup": 5} if k == 2 else {}))
    for k in range(6)
]


def score(config, fold, step):
    return 0.7 + 0.01 * int(config[1:]) + 0.02 * fold - 0.3 / step


def make_run(folder, name="grid", early=(), failing=()):
    """A run folder as a driver writes it; folds in ``early`` stop after step 4, those in ``failing`` fail there."""
    folder.mkdir(parents=True)
    (folder / SPACE).write_text('{"name": "made", "trainable": "scripted"}')
    with Journal(folder / "journal.jsonl") as journal:
        study = Study(SCHEDULERS[name]([], 3), journal)
        study.begin()
        for entrant in ENTRANTS:
            study.add(entrant)
        while not isinstance(job := study.next(), Finished):
            cell, begun = (job.config, job.fold), study.policy.score_table.curve(job.config, job.fold)
            for step in [step for step in STEPS if step not in begun]:
                value = math.nan if cell in failing and step > 4 else score(*cell, step)
                step = 8 if step > 4 and cell in (*early, *failing) else step
                if isinstance(study.report(Report(*cell, step, value, 10.0 * step)), Stop):
                    break
    return folder


def rows(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments), "--format", "json", "--processes", "1"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_curves_of_a_full_grid_replay_to_a_cost_of_one(tmp_path, suffix):
    run, table = make_run(tmp_path / "runs/whole"), tmp_path / f"curves.{suffix}"
    done = CliRunner().invoke(app, ["curves", str(run), "--out", str(table)])
    assert done.exit_code == 0 and done.stdout == "" and "72 reports of 6 configs" in done.stderr
    found = rows("replay", table, "--scheduler", "grid", "--scheduler", "foldrace", "--workers", "1")
    assert found[0]["cost"] == 1.0 and found[0]["regret"] == 0.0
    assert found[0]["wall"] == 6 * 3 * 80.0
    assert found == rows("replay", run, "--scheduler", "grid", "--scheduler", "foldrace", "--workers", "1")


def test_a_table_holds_the_reports_and_the_parameters_of_each_config(tmp_path):
    run = make_run(tmp_path / "run", "foldrace")
    lines = read_journal(run / "journal.jsonl")
    table = curve_table(lines)
    assert list(table.columns) == ["config", "fold", "step", "score", "seconds", "loss", "pc", "steps", "warmup"]
    assert len(table) == sum(line.kind == "report" for line in lines) < 72, "the race skips fold trials"
    first = table.iloc[0]
    assert (first["config"], first["fold"], first["step"], first["seconds"]) == ("c0", 0, 2, 20.0)
    assert first["score"] == score("c0", 0, 2) and (first["loss"], first["pc"]) == ("dice", 0.0)
    assert table[table["warmup"].notna()]["config"].unique().tolist() == ["c2"]
    write_table(table, tmp_path / "curves.csv")
    warmups = {row["warmup"] for row in csv.DictReader((tmp_path / "curves.csv").read_text().splitlines())}
    assert warmups == {"", "5"}, "an integer that some configs do not have stays one"


def test_a_table_of_an_earlier_version_is_read_as_one_of_this_version(tmp_path):
    run = make_run(tmp_path / "run", failing=[("c3", 2)])
    table = curve_table(read_journal(run / "journal.jsonl"))
    write_table(table, tmp_path / "now.csv")
    table.to_csv(tmp_path / "earlier.csv", index=False, na_rep="nan")
    assert (tmp_path / "now.csv").read_text() != (tmp_path / "earlier.csv").read_text()
    assert repr(read_table(tmp_path / "now.csv")) == repr(read_table(tmp_path / "earlier.csv"))
    assert read_table(tmp_path / "now.csv").means()["c3"] == -math.inf


def test_values_of_mixed_types_become_strings(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with Journal(run / "journal.jsonl") as journal:
        study = Study(SCHEDULERS["grid"]([], 1), journal)
        for number, value in enumerate([None, 0.5, "auto", [1, 2], True]):
            study.add(Entrant(f"c{number}", (1,), {"size": value}))
            study.report(Report(f"c{number}", 0, 1, 0.5, 1.0))
    table = curve_table(read_journal(run / "journal.jsonl"))
    table.to_parquet(tmp_path / "t.parquet")
    values = pd.read_parquet(tmp_path / "t.parquet")["size"].tolist()
    assert values[1:] == ["0.5", "auto", "[1, 2]", "True"] and pd.isna(values[0])


def test_a_partial_run_lists_the_skipped_configs(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    journal = run / "journal.jsonl"
    left_out = ({"kind": "report", "config": config, "fold": 2} for config in ("c1", "c4"))
    missing = [each.items() for each in left_out]
    remaining = [each for each in read_lines(journal) if not any(items <= each.items() for items in missing)]
    journal.write_text(text_of(remaining))
    study = read_table(run)
    stderr = capsys.readouterr().err
    assert [entrant.config for entrant in study.entrants] == ["c0", "c2", "c3", "c5"]
    assert "replays only 4 complete configs; skipped as incomplete: config c1: fold 2 was not trained" in stderr
    assert "What those would have scored is unknown, so cost, regret and P(best) are about the complete" in stderr
    assert "config c4: fold 2 was not trained until step 8" in stderr and stderr.count("\n") == 1


def test_a_config_that_was_paused_at_the_same_step_in_all_folds_is_not_complete(tmp_path):
    run = make_run(tmp_path / "run")
    table = curve_table(read_journal(run / "journal.jsonl"))
    paused = table[(table["config"] != "c3") | (table["step"] <= 4)]
    for frame in (paused, paused.astype({"steps": str})):
        study = study_from_table(frame)
        assert [entrant.config for entrant in study.entrants] == ["c0", "c1", "c2", "c4", "c5"]
        assert study.incomplete == ("config c3: fold 0 was not trained until step 8",)
    unrelated = study_from_table(paused.assign(steps=12_000))
    assert len(unrelated.entrants) == 6, "a parameter named steps that no fold reaches is not the horizon"


def test_folds_that_stopped_early_or_failed_belong_to_the_block_of_their_config(tmp_path):
    early = [("c4", 1), ("c5", 0), ("c5", 1), ("c5", 2)]
    run = make_run(tmp_path / "run", early=early, failing=[("c1", 2)])
    study = read_table(run)
    assert [entrant.steps for entrant in study.entrants] == [STEPS] * 6
    assert study.means()["c1"] == -np.inf
    assert rows("replay", run, "--scheduler", "grid")[0]["cost"] == 1.0


def test_runs_are_found_by_folder_by_name_and_in_a_folder_of_runs_and_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    make_run(runs / "one")
    make_run(runs / "two")
    curve_table(read_journal(runs / "one/journal.jsonl")).to_csv(runs / "table.csv", index=False)
    assert find_tables([runs / "one"]) == [runs / "one"]
    assert [path.name for path in find_tables([type(runs)("two")])] == ["two"]
    assert [path.name for path in find_tables([runs])] == ["one", "table.csv", "two"]
    assert rows("replay", "one", "--scheduler", "grid")[0]["cost"] == 1.0
    with pytest.raises(UserError, match=r"ons: no such file or folder, and no run in runs\. Did you mean 'one'\?"):
        find_tables([type(runs)("ons")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curves", "nothing", "--out", "x.csv"], "nothing: no such run"),
        (["curves", "run", "--out", "x.xlsx"], "x.xlsx: must end in .parquet or .csv"),
        (["replay", "begun"], "the run has no reports yet"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs/run")
    (tmp_path / "runs/begun").mkdir()
    (tmp_path / "runs/begun" / SPACE).write_text('{"name": "begun", "trainable": "scripted"}')
    monkeypatch.setattr("sys.argv", ["search", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_program(app)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "") and message in err and err.count("\n") == 1
