"""The tables of finished, running, damaged and scripted runs."""

import math

import pytest
from scored_run import NAN, scored_run

from search.runs.journal import Journal
from search.runs.run_tables import CURVES, TRIALS, read_run

LOSSES = {"loss": {"values": ["iou", "dice"]}}


@pytest.fixture
def scripted(tmp_path):
    return scored_run(tmp_path, LOSSES, [([0.8, 0.82, (0.6,)], 20.0), ([0.7, NAN, None], 10.0)])


def test_a_finished_run_with_models_has_every_table(small_run):
    tables = read_run(small_run)
    assert list(tables.configs["learning_rate"]) == [1e-3, 1e-2] and tables.parameters == ["learning_rate"]
    assert set(tables.trials["state"]) == {"done"} and len(tables.trials) == 6
    assert len(tables.complete()) == 2 and tables.left_out == ()
    images = tables.images(tables.complete())
    assert len(images) == 2 * 20, "every image once for each config"
    assert set(images["size"]) == {"working"} and set(images["weights"]) == {"last"}
    one = images[images["config"] == tables.complete()[0]]
    assert set(one["stem"]) == {f"train_{number:05d}" for number in range(20)} or one["stem"].is_unique


def test_there_is_a_row_for_every_report_and_every_fold_trial(scripted):
    run, (iou, dice) = scripted
    tables = read_run(run)
    assert tuple(tables.curves) == CURVES and tuple(tables.trials) == TRIALS
    assert len(tables.curves) == 2 + 2 + 1 + 2 + 1
    states = {(row["config"], row["fold"]): row["state"] for row in tables.trials.to_dict("records")}
    assert states == {(iou, 0): "done", (iou, 1): "done", (iou, 2): "paused", (dice, 0): "done", (dice, 1): "failed"}
    assert dict(zip(tables.configs["config"], tables.configs["seconds"], strict=True)) == {iou: 50.0, dice: 20.0}
    assert list(tables.configs["loss"]) == ["iou", "dice"] and tables.parameters == ["loss"]


def test_a_missing_full_length_score_is_nan(scripted):
    run, (iou, dice) = scripted
    full = read_run(run).full()
    assert list(full.index) == [iou, dice] and list(full.columns) == [0, 1, 2]
    assert full.loc[iou].tolist()[:2] == [0.8, 0.82] and math.isnan(full.loc[iou, 2])
    assert full.loc[dice].isna().tolist() == [False, True, True]
    assert read_run(run).complete() == [] and read_run(run).failed() == {dice}


def test_missing_pixel_counts_are_an_empty_table(scripted):
    run, configs = scripted
    assert read_run(run).images(configs).empty


def test_a_running_run_is_read_while_its_driver_writes(tmp_path):
    run, (iou, _) = scored_run(tmp_path, LOSSES, [([0.8, None, None], 1.0), ([None] * 3, 1.0)], ended=False)
    with Journal(run.journal) as driver:
        driver.append("job", config=iou, fold=1, until=2)
        tables = read_run(run)
        assert tables.status.state == "running"
        assert tables.trials["state"].tolist() == ["done", "running"]
        assert math.isnan(tables.trials["full"].iloc[1])
    assert read_run(run).trials["state"].tolist() == ["done", "paused"], "without a driver nothing is running"


def test_a_damaged_line_is_left_out_and_reported(scripted):
    run, (iou, _) = scripted
    lines = run.journal.read_bytes().splitlines(keepends=True)
    number = next(k for k, line in enumerate(lines, 1) if b'"step":2' in line and iou.encode() in line)
    lines[number - 1] = lines[number - 1][:20] + b"\xff\xfe\n"
    run.journal.write_bytes(b"".join(lines))
    tables = read_run(run)
    (problem,) = tables.left_out
    assert f"line {number}: is damaged" in problem
    assert len(tables.curves) == 7 and math.isnan(tables.full().loc[iou, 0])


def test_records_of_a_missing_config_are_left_out_and_reported_with_their_line(scripted):
    run, (iou, dice) = scripted
    lines = run.journal.read_bytes().splitlines(keepends=True)
    removed = next(k for k, line in enumerate(lines) if b'"kind":"config"' in line and dice.encode() in line)
    run.journal.write_bytes(b"".join([*lines[:removed], b"{}\n", *lines[removed + 1 :]]))
    tables = read_run(run)
    assert set(tables.trials["config"]) == {iou} == set(tables.curves["config"])
    assert all(str(run.journal) in problem for problem in tables.left_out)
    assert any("does not fit the records before it" in problem for problem in tables.left_out)


def test_a_torn_last_line_is_ignored_and_not_reported(scripted):
    run, _ = scripted
    with run.journal.open("ab") as file:
        file.write(b'{"v":1,"at":1.0,"kind":"rep')
    assert read_run(run).left_out == ()


def test_a_run_without_a_config_has_empty_tables(tmp_path):
    run, _ = scored_run(tmp_path, LOSSES, [([None] * 3, 1.0)] * 2)
    run.journal.write_bytes(run.journal.read_bytes().splitlines(keepends=True)[0])
    tables = read_run(run)
    assert tables.configs.empty and tables.trials.empty and tables.curves.empty and tables.complete() == []
