"""``python -m cluster plan``: the expected numbers, with their arithmetic."""

import json

import pytest
from typer.testing import CliRunner

from cluster.__main__ import app
from trainable.errors import UserError


@pytest.fixture
def plan():
    def run(*words):
        done = CliRunner().invoke(app, ["plan", *words, "--format", "json"], catch_exceptions=False)
        return json.loads(done.stdout)

    return run


def test_a_cluster_that_does_not_exist_yet(plan):
    rows = plan("--machine", "2 x 96 cores + 8 A100", "--machine", "4 cores", "--fold-trial", "9.5", "--card", "80")
    # 80 / (9.5 x 1.1) = 7 on each of 8 GPUs; 96 cores for 56 are one each, and a seventh of 80 GiB minus 0.5
    assert [(row["kind"], row["fold_trials"]) for row in rows] == [("A100", 56), ("A100", 56), ("", 0)]
    assert (rows[0]["gpu_each"], rows[0]["cores_each"]) == (0.1428, 1.0)
    assert rows[0]["memory_each"] == pytest.approx(1 / 7 - 0.5 / 80, abs=1e-3)


@pytest.mark.parametrize(
    ("machine", "message"),
    [("1 cores", "1 fold trial at once on 1 machine\n"), ("2 x 1 cores", "2 fold trials at once on 2 machines\n")],
)
def test_the_summary_uses_singular_and_plural(machine, message):
    done = CliRunner().invoke(app, ["plan", "--machine", machine])
    assert done.stderr.endswith(message)


def test_stated_resources_are_used(plan):
    (row,) = plan("--machine", "16 cores + 2 T4", "--cpu", "4", "--gpu", "0.5")
    assert (row["fold_trials"], row["gpu_each"], row["cores_each"]) == (4, 0.5, 4.0)
    (row,) = plan("--machine", "16 cores + 2 T4", "--cpu", "4", "--gpu", "0")
    assert (row["fold_trials"], row["gpu_each"]) == (4, 0.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--machine", "eight A100"), "must be like '96 cores'"),
        (("--machine", "8 cores", "--gpu", "many"), "must be a number of at least 0, or auto"),
        (("--machine", "8 cores", "--cpu", "0"), "--cpu 0: must be a number above 0, or auto"),
        (("--machine", "8 cores + 1 T4", "--fold-trial", "20", "--card", "16"), "does not fit on a GPU of 16 GiB"),
        (("--machine", "8 cores + 1 T4", "--fold-trial", "nan"), "--fold-trial nan: does not fit"),
        (("--machine", "8 cores + 1 T4", "--fold-trial", "9", "--card", "inf"), "does not fit on a GPU of inf GiB"),
        (("--machine", "8 cores + 1 T4", "--fold-trial", "0.1"), "must exceed the 0.5 GiB of a CUDA context"),
    ],
)
def test_wrong_options_are_reported(plan, words, message):
    with pytest.raises(UserError, match=message):
        plan(*words)
