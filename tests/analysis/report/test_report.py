"""The content of the report; its display in a browser is tested in test_report_browser."""

import csv
import json
import re
from dataclasses import replace
from html import unescape

import pytest
from scored_run import scored_run
from typer.testing import CliRunner
from untrained_runs import CONDITIONAL, GRID, ONE, RANGES, write_run

from analysis.__main__ import app
from analysis.answer.selection import select
from analysis.report.figure import as_json, label, table
from analysis.report.page.page import HOME, SCRIPTS
from analysis.report.write import sections, write_report
from search.runs.run_tables import read_run
from trainable.storage.checked_json import read_lines, text_of


def made(run):
    tables = read_run(run)
    selection = select(tables)
    path, found = write_report(tables, selection)
    return tables, selection, path.read_text(), {figure.name: figure for each in found for figure in each.figures}


def data_of(text):
    """What the page's scripts know of the run."""
    return json.loads(re.search(r'<script type="application/json" id="run">(.*?)</script>', text)[1])


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "pruned", GRID, folds=3)


def test_the_numbers_on_the_page_are_those_of_the_run(pruned):
    tables, selection, text, figures = made(pruned)
    winner = selection.winner
    assert f"{winner.mean:.4f}" in text and winner.config in text
    points = [point for trace in figures["configs"].traces for point in trace["y"]]
    expected = selection.standings(forecasts=False)["expected"]
    assert points and sorted(points) == sorted(expected)
    (marked,) = [trace for trace in figures["configs"].traces if trace["name"] == "the winner"]
    assert marked["y"] == [expected[winner.config]]
    drawn = data_of(text)
    full = [trial["full"] for trial in drawn["trials"] if trial["full"] is not None]
    assert full == pytest.approx(tables.trials["full"].dropna().tolist(), abs=1e-6)
    assert drawn["configs"][0]["id"] == winner.config and len(drawn["configs"]) == 72
    curve = next(trial for trial in drawn["trials"] if trial["curve"])
    steps, scores = drawn["steps"][curve["curve"][0]], curve["curve"][1]
    cell = {"config": drawn["configs"][curve["config"]]["id"], "fold": curve["fold"]}
    recorded = tables.curves[(tables.curves[list(cell)] == cell.values()).all(axis=1)]
    assert steps == recorded["step"].tolist() and scores == pytest.approx(recorded["score"].tolist(), abs=1e-5)
    assert f"{len(tables.trials)} fold trials" in text


def test_the_files_beside_it_contain_every_config_and_the_answer(pruned):
    _, selection, _, _ = made(pruned)
    folder = pruned.folder / "analysis"
    rows = list(csv.DictReader((folder / "summary.csv").read_text().splitlines()))
    assert len(rows) == 72 and rows[0]["config"] == selection.winner.config
    assert json.loads((folder / "selection.json").read_text())["winner"]["id"] == selection.winner.config


def test_a_grid_of_choices_is_shown_by_levels_and_crossed(pruned):
    _, _, _, figures = made(pruned)
    assert {"effect-loss", "effect-augmentation", "effect-batch_size", "effect-pc"} <= set(figures)
    assert "cells-loss-augmentation" in figures and not any(name.startswith("slice") for name in figures)
    assert figures["effect-augmentation"].title.startswith("augmentation: high is best")

    assert re.match(r"Step \d+ of 12000 has the most stops: \d+ of \d+$", figures["stops"].title)


def test_early_stops_of_configs_of_several_lengths_are_not_of_the_longest(pruned):
    tables = read_run(pruned)
    lengths = [12000 * (1 + number % 2) for number in range(len(tables.trials))]
    mixed = replace(tables, trials=tables.trials.assign(of=lengths))
    found = {figure.name: figure for each in sections(mixed, select(tables)) for figure in each.figures}
    assert re.match(r"Step \d+ has the most stops: \d+ of \d+$", found["stops"].title)


def test_the_example_of_a_filter_and_the_importance_fit_values_that_are_no_numbers(tmp_path):
    names = {"values": [f"name{number}" for number in range(11)]}
    scores = [([0.8 + number % 4 / 10] * 3, 1.0) for number in range(22)]
    run, _ = scored_run(tmp_path, {"kind": names, "loss": {"values": ["iou", "dice"]}}, scores)
    _, _, text, figures = made(run)
    assert "filter: kind=name0 winner done" in text
    assert "kind explains the largest share of the difference between configs: " in figures["importance"].title


def test_values_that_are_lists_are_levels_like_others(tmp_path):
    lists = {"fault_folds": {"values": [[0], [1, 2]]}, "quality": {"values": [0.7, 0.8]}}
    run, _ = scored_run(tmp_path, lists, [([0.8] * 3, 1.0), ([0.7] * 3, 1.0), ([0.6] * 3, 1.0), ([0.5] * 3, 1.0)])
    _, _, text, figures = made(run)
    assert "filter: fault_folds=0 winner done" in text and "'1,2'" in str(figures["effect-fault_folds"])


def test_a_parameter_of_a_single_level_is_not_crossed_with_that_level(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.report.effects.CROSSED", 10)
    conditional = GRID.replace("[6, 8, 12]", "[6, 8, 12], when: {{loss: [iou]}}").replace("[1, 2, 3, 3.8]", "[1, 2]")
    _, _, text, figures = made(write_run(tmp_path / "conditional", conditional, folds=3))
    crossed = {frozenset(name.split("-")[1:]) for name in figures if name.startswith("cells")}
    assert frozenset(["augmentation", "batch_size"]) in crossed and len(crossed) == 5
    assert frozenset(["loss", "batch_size"]) not in crossed and ": not shown" not in text


def test_ranges_are_shown_as_slices_and_contours_on_their_own_scale(tmp_path):
    _, _, _, figures = made(write_run(tmp_path / "ranges", RANGES, folds=3))
    assert {"slice-learning_rate", "slice-dropout", "contour-learning_rate-weight_decay"} <= set(figures)
    assert figures["slice-learning_rate"].layout["xaxis"]["type"] == "log"
    assert "type" not in figures["slice-dropout"].layout["xaxis"]


def test_few_configs_have_no_best_region_and_no_surface(tmp_path):
    _, _, _, figures = made(write_run(tmp_path / "few", RANGES.replace("count: 30", "count: 19"), folds=3))
    assert "too few to say where it is best (20 are needed)" in figures["slice-dropout"].title
    assert not any(name.startswith("contour") for name in figures)
    _, _, _, figures = made(write_run(tmp_path / "enough", RANGES.replace("count: 30", "count: 20"), folds=3))
    assert "the best fifth lies between" in figures["slice-dropout"].title
    assert "contour-learning_rate-weight_decay" in figures


@pytest.mark.parametrize("until", [1, 75, 110, 160])
def test_a_run_that_is_not_at_its_end_has_a_report(tmp_path, until):
    run = write_run(tmp_path / "part", GRID, folds=3, until=until)
    tables, selection, text, _ = made(run)
    grid = 3 * len(tables.configs)
    assert f"{grid - len(tables.trials):,} not started" in text
    if selection.winner is None:
        assert "there is no winner" in text and f"search launch {run.folder}/space.yaml" in text


def test_a_value_that_a_config_does_not_have_is_none_and_a_value_of_none_is_a_level(tmp_path):
    tables, _, text, figures = made(write_run(tmp_path / "conditional", CONDITIONAL, folds=3))
    assert set(figures["effect-attention"].traces[0]["x"]) == {"none", "scse"} and "cells-loss-attention" in figures
    rows = list(csv.DictReader((tables.run.folder / "analysis/summary.csv").read_text().splitlines()))
    assert {row["attention"] for row in rows} == {"none", "scse"}
    assert all((row["learning_rate"] == "") == (row["loss"] == "dice") for row in rows)
    drawn = data_of(text)
    axes = {axis["name"]: axis for axis in drawn["parameters"]}
    assert axes["learning_rate"]["log"] and axes["learning_rate"]["levels"] is None
    assert sorted(axes["attention"]["levels"]) == ["none", "scse"]
    for config in drawn["configs"]:
        values = dict(zip(axes, config["values"], strict=True))
        recorded = tables.status.score_table.entrants[config["id"]].parameters
        assert (values["learning_rate"] is None) == (recorded["loss"] == "dice")
        if recorded["loss"] == "iou":
            assert values["learning_rate"] == pytest.approx(recorded["learning_rate"], rel=1e-4)
        assert axes["attention"]["levels"][values["attention"]] == (recorded["attention"] or "none")


def test_failed_configs_are_listed_with_their_reason(tmp_path):
    _, _, text, _ = made(write_run(tmp_path / "failed", GRID, folds=3, fails=(0, 5)))
    drawn = data_of(text)
    failed = [trial for trial in drawn["trials"] if trial["state"] == "failed"]
    assert len(failed) == 2 and all("is not a number" in drawn["reasons"][trial["reason"]] for trial in failed)
    assert [config["place"] for config in drawn["configs"]].count("failed") == 2


def test_a_single_config_has_a_report(tmp_path):
    _, selection, text, figures = made(write_run(tmp_path / "one", ONE, folds=3))
    assert f"The winner scores {selection.winner.mean:.4f}; there is too little to compare it with" in text
    assert "curves" in figures and 'id="parallel"' not in text
    assert "There is too little to compare it with" in text and "can be distinguished from it" not in text
    layout = figures["winner-folds"].layout
    assert layout["xaxis"]["dtick"] == 1
    low, high = layout["yaxis"]["range"]
    folds = selection.winner.folds
    assert 0 <= low < min(folds) <= max(folds) < high <= 1 and high - low < 0.3


def test_a_stopped_run_makes_no_claims_about_configs_without_scores(tmp_path):
    scores = [[0.71, 0.73, 0.69], [0.51, 0.54, 0.50], [0.41, 0.43, 0.38], [0.43, 0.45, 0.40], [None] * 3]
    values = {"values": [0.1, 0.2, 0.3, 0.4, 0.5]}
    run, _ = scored_run(tmp_path, {"quality": values}, [(row, 1.0) for row in scores], ended=False)
    _, _, text, figures = made(run)
    assert "All other configs with a full-length score can be distinguished from it." in text
    assert "1 config has no full-length score, and is not part of this comparison." in text
    assert "of 4 configs with a score" in text
    assert figures["configs"].title.endswith("all others with a score can be distinguished from it")
    assert figures["configs"].layout["xaxis"]["dtick"] == 1


def test_names_are_text_and_never_markup(pruned):
    evil = "</script><img src=x onerror=alert(1)>"
    records = json.loads(json.dumps(read_lines(pruned.journal)).replace("paused:", f"paused {evil}:"))
    copy = write_run(pruned.folder.parent / "evil", GRID, folds=3)
    copy.journal.write_text(text_of(records))
    _, _, text, _ = made(copy)
    assert "onerror" in text and "<img src=x" not in text
    assert "<" not in as_json({"reason": evil}) and json.loads(as_json({"reason": evil})) == {"reason": evil}
    assert "<img" not in table([{evil: evil}]).html and "<" not in label(evil)


def test_not_a_number_is_null_for_the_browser():
    assert as_json([float("nan"), float("inf"), 1.0]) == "[null,null,1.0]"


def test_the_page_is_one_file_with_plotly_in_it_once(pruned):
    _, _, text, _ = made(pruned)
    assert len(text) < 15e6 and text.count("plotly.js v") == 1
    own = re.sub(r"<script>/\*\*.*?</script>", "", text, flags=re.S)
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", own)


def test_the_scripts_of_the_page_are_small():
    assert sum(len((HOME / name).read_text().splitlines()) for name in SCRIPTS) <= 400


def test_every_figure_has_a_title_a_caption_and_names_on_its_axes(pruned):
    _, _, text, figures = made(pruned)
    for figure in figures.values():
        assert figure.title in unescape(text) and "n" in figure.caption
        if figure.name not in ("costs", "importance"):
            assert all(figure.layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis")), figure.name


def test_images_of_the_winner_are_predicted_by_the_fold_that_held_them_out(small_run):
    tables = read_run(small_run)
    selection = select(tables)
    (images,) = [each for each in sections(tables, selection) if each.name == "images"]
    told = "".join(getattr(block, "html", "") for block in images.blocks)
    counts = tables.images([selection.winner.config], "best", "original").set_index("stem")
    shown = re.findall(r'class="more">(\S+), fold (\d), IoU ([\d.]+)<', told)
    assert len(shown) == 8
    for stem, fold, iou in shown:
        row = counts.loc[stem]
        assert int(fold) == row["fold"]
        assert float(iou) == pytest.approx(row["tp"] / max(1, row["tp"] + row["fp"] + row["fn"]), abs=6e-4)
    assert told.count("data:image/jpeg") == 40 and [figure.name for figure in images.figures] == ["calibration"]


def test_without_models_the_page_gives_the_reason_for_missing_images(pruned):
    _, _, text, _ = made(pruned)
    assert "Images and calibration are not shown: the winner&#x27;s models" in text


def test_the_command_names_its_file_and_the_next_step(pruned, tmp_path):
    done = CliRunner().invoke(app, ["report", str(pruned.folder), "--out", str(tmp_path / "here")])
    assert done.exit_code == 0 and done.stdout.strip() == str(tmp_path / "here" / "report.html")
    assert "Next: python -m analysis ensemble" in done.stderr


def test_png_figures_without_a_browser_are_an_error(pruned, tmp_path, monkeypatch):
    from trainable.errors import UserError

    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, ["report", str(pruned.folder), "--out", str(tmp_path), "--png", str(tmp_path / "p")])
    assert isinstance(done.exception, UserError) and "apt-get install chromium" in str(done.exception)
