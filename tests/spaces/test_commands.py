"""``python -m spaces``: output on stdout and stderr, and exit codes."""

import csv
import io
import json
import sys

import pytest

from spaces.__main__ import app
from spaces.shipped import shipped_spaces
from trainable import exit_codes


@pytest.fixture
def run(monkeypatch, capsys):
    def program(*arguments):
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["spaces", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            exit_codes.run(app)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return end.value.code, captured.out, captured.err

    return program


@pytest.mark.parametrize("name", shipped_spaces())
def test_check_summarizes_a_space_on_one_screen_and_names_the_next_step(run, name):
    code, out, err = run("check", name, "--set", "folds=4")
    assert code == 0
    assert out.startswith(f"space       {name}\n") and "\nscheduler   " in out
    assert len(out.splitlines()) <= 24 and max(map(len, out.splitlines())) <= 110
    assert err.splitlines()[-1] == f"Next: python -m search launch {name} --set folds=4"


def test_a_folder_named_like_a_shipped_space_does_not_hide_it(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full_grid").mkdir()
    code, out, _ = run("check", "full_grid")
    assert (code, out.splitlines()[0]) == (0, "space       full_grid")


def test_check_summarizes_full_grid(run):
    _, out, _ = run("check", "full_grid")
    assert "configs     72 (360 fold trials)\n" in out
    assert "searched    loss: iou, dice\n            augmentation: low, medium, high\n" in out
    assert "fixed       encoder: 'efficientnet-b2'\n" in out


def test_check_shows_large_numbers_and_truth_as_in_a_space(run):
    _, out, _ = run("check", "single_image")
    assert "beta: 0, 1e+06, 1e+07, 1e+08 (when" in out and "uniform: false, true (when" in out


def test_check_lists_every_problem_and_exits_with_2(run, write):
    code, out, err = run("check", write(old="iou, dice", new="iou, dise"), "--set", "folds=1")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[0] == "error: 2 problems"
    rule = "must be 'dice', 'iou', 'tversky', 'dice+bce' or 'ce'. Did you mean 'dice'?"
    assert lines[1].endswith(f"space.yaml:4: parameters.loss.values.1 = 'dise': {rule}")
    assert lines[2] == "--set folds=1: folds = 1: must be greater than or equal to 2"


def test_check_prints_json_and_csv(run, write):
    code, out, _ = run("check", "full_grid", "--format", "json")
    document = json.loads(out)
    assert (code, document["problems"], document["configs"], document["space"]["folds"]) == (0, [], 72, 5)
    code, out, _ = run("check", write(old="iou, dice", new="iou, dise"), "--format", "json")
    (problem,) = json.loads(out)["problems"]
    assert code == 2 and problem["key"] == "parameters.loss.values.1" and problem["value"] == "'dise'"
    code, out, _ = run("check", write(), "--format", "csv")
    assert (code, out) == (0, "place,key,value,problem\n")
    code, out, _ = run("check", write(old="iou, dice", new="iou, dise"), "--format", "csv")
    assert code == 2 and len(list(csv.DictReader(io.StringIO(out)))) == 1


def test_show_lists_every_config(run):
    code, out, err = run("show", "full_grid", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and len({row["id"] for row in rows}) == 72 and err == "72 configs\n"
    assert list(rows[0]) == ["id", "loss", "augmentation", "batch_size", "pc"]
    assert len(run("show", "full_grid")[1].splitlines()) == 73
    code, out, err = run("show", "full_grid", "--format", "json", "--limit", 5)
    points = json.loads(out)
    assert (
        len(points) == 5 and points[0]["config"]["loss"] == points[0]["values"]["loss"] and err == "5 of 72 configs\n"
    )


def test_show_draws_from_a_space_with_ranges(run):
    first = run("show", "beyond", "--format", "json", "--limit", 3)
    assert first[0] == 0 and len(json.loads(first[1])) == 3 and "drawn with seed 0" in first[2]
    assert run("show", "beyond", "--format", "json", "--limit", 3) == first
    assert run("show", "beyond", "--format", "json", "--limit", 3, "--seed", 1)[1] != first[1]
    assert len(run("show", "beyond")[1].splitlines()) == 11


def test_csv_has_exact_numbers_and_a_table_rounded_ones(run, write):
    space = write(old="[1, 2, 3]", new="[1e-5, 1.23456789]")
    assert (
        "1e-05\n" in run("show", space, "--format", "csv")[1]
        and "1.23456789\n" in run("show", space, "--format", "csv")[1]
    )
    assert "1.235" in run("show", space)[1]


def test_list_names_the_shipped_spaces(run):
    code, out, _ = run("list", "--format", "json")
    assert code == 0 and [row["name"] for row in json.loads(out)] == [
        "beyond",
        "cardiac_masks",
        "colour_distributions",
        "encoders",
        "field_guide",
        "full_grid",
        "quickstart",
        "scribbles_alone",
        "scribbles_alone_mscmr",
        "single_image",
        "single_image_features",
        "unet_family",
    ]
    assert "full_grid" in run("list")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere.yaml"], "error: nowhere.yaml: no such file. Shipped spaces: beyond"),
        (["show", "full_gird"], "error: full_gird: no such file. Did you mean 'full_grid'"),
        (["check", "full_grid", "--set", "folds"], "error: --set 'folds': write key.path=value"),
        (["chek"], "No such command 'chek'"),
        (["show", "full_grid", "--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_wrong_use_is_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and message in err


@pytest.mark.parametrize("command", ["check", "show", "list"])
def test_help_shows_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0 and f"Example: python -m spaces {command}" in out
    assert "╭" not in out, "plain text, as of the other programs"
