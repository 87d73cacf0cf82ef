"""The benchmark programs run as a user runs them, on small inputs."""

import argparse
import json
import os
import shlex
import zipfile
from functools import partial
from pathlib import Path

import pytest
from forked_child import CHILDREN

from benchmarks.machine import commit
from search.planning.step_seconds import AUGMENTATIONS
from search.replay.comparison import mean_row, replay_outcomes
from search.replay.curve_tables import read_table
from trainable.data.dataset import open_split
from trainable.data.groups import GROUPS, read_groups, read_volumes

ROOT = Path(__file__).parents[1]
TINY = "--set size=64x64 --set encoder=test_resnet --set steps=4 --set evaluations=2 --set batch_size=4"


@pytest.fixture
def run(tmp_path, small_cache, fork_server):
    def program(name, words, expected=0):
        environment = {**os.environ, "SCRIBBLE_SEARCH_CACHE": str(small_cache), "NO_COLOR": "1", CHILDREN: "1"}
        done = fork_server.run([ROOT / "benchmarks" / f"{name}.py", *shlex.split(words)], tmp_path, environment)
        assert done.returncode == expected, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return program


def test_an_interrupted_reproduction_resumes_and_writes_scores_and_masks(run, small_folder, tmp_path):
    words = f"{small_folder} --name tiny --folds 2 --packed 2 --workers 0 --results results {TINY}"
    interrupted = run("reproduce", f"{words} --minutes 0.0001", expected=130)
    assert interrupted.stderr.splitlines()[-1].endswith("--minutes 0.0001")
    run("reproduce", words)
    result = json.loads((tmp_path / "results/tiny.json").read_text())
    assert len(result["runs"]) == 2 and result["settings"]["folds"] == 2
    row = next(row for row in result["cross_validation"] if (row["weights"], row["metric"]) == ("best", "miou"))
    assert len(row["folds"]) == 2 and min(row["folds"]) <= row["mean"] <= max(row["folds"])
    with zipfile.ZipFile(tmp_path / "results/tiny_masks.zip") as archive:
        assert sorted(archive.namelist()) == sorted(
            f"{path.stem}.png" for path in (small_folder / "test1/images").iterdir()
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{data} --name tiny --test nowhere", "nowhere: no such split to predict"),
        ("{data} --name tiny --packed 0", "--packed: must be 1 or more"),
        ("{data} --name tiny --set encoder=restnet18 --set steps=no", "steps = 'no'"),
    ],
)
def test_reproduce_reports_a_mistake_in_one_line(run, small_folder, words, message):
    done = run("reproduce", words.format(data=small_folder), expected=2)
    assert message in done.stderr


def test_the_recorded_grid_is_replayed(run, tmp_path):
    run("real_curves", "--repeats 1 --processes 1 --out found.json")
    result = json.loads((tmp_path / "found.json").read_text())
    assert (result["grid"]["configs"], result["grid"]["folds"]) == (72, 5) and result["commit"] == commit()
    rows = {row["scheduler"]: row for row in result["results"]}
    assert rows["grid"]["cost"] == pytest.approx(1) and rows["grid"]["p_best"] == 1
    assert rows["foldrace"]["cost"] < 0.4 and rows["foldrace"]["regret"] < 0.001


@pytest.mark.parametrize("table", [0, 1])
def test_the_race_prunes_no_config_that_may_catch_up_in_a_small_search(table):
    """In these tables the winner is behind by a tenth at the rung; an earlier race found it in one of three orders."""
    study = ROOT / f"benchmarks/tables/small/{table}.parquet"
    rows = [
        mean_row("foldrace", replay_outcomes(partial(read_table, study), ["foldrace"], workers, 0, 10)["foldrace"])
        for workers in (2, 8)
    ]
    assert min(row["p_best"] for row in rows) >= 0.9 and max(row["cost"] for row in rows) < 0.75


def test_a_profile_lists_every_part_of_a_fold(run, small_folder, tmp_path):
    run("profile_fold", f"{small_folder} {TINY} --steps 2 --workers 0 --results results")
    result = json.loads((tmp_path / "results/profile_fold.json").read_text())
    parts = {row["part"] for row in result["parts"]}
    assert {"forward", "backward", "optimizer", "waiting for input", "an evaluation", "a checkpoint"} <= parts
    assert sum(row["share"] for row in result["parts"]) == pytest.approx(1)
    assert result["sample_ms"].keys() == set(AUGMENTATIONS) and min(result["sample_ms"].values()) > 0


def test_the_recipes_are_compared_with_the_supervised_one(run, tmp_path):
    tiny = TINY.replace("--set size=64x64 ", "--size 64x64 ").replace("steps=4", "steps=9")
    run("recipes", f"{tiny} --set attention=none --classes 3 --images 8 --steps 1 --out recipes.json")
    result = json.loads((tmp_path / "recipes.json").read_text())
    rows = {row["recipe"]: row for row in result["recipes"]}
    assert rows["supervised"]["times_supervised"] == 1 and {"cyclemix", "mixup", "supervised + CRF"} < rows.keys()
    assert all(row["step_ms"] > 0 and row["times_supervised"] > 0 for row in rows.values())


def test_shortcuts_of_a_method_on_one_image_are_compared_with_the_exact_computation(run, small_folder, tmp_path):
    run("one_image", f"{small_folder} --images 2 --device cpu --threads 1 --set working_size=24 --out one.json")
    result = json.loads((tmp_path / "one.json").read_text())
    parts = {row["part"]: row["ms"] for row in result["parts"]}
    assert 0 < parts["relax"] + parts["log_densities"] <= parts["an image"]
    usual, *others = result["shortcuts"]
    assert usual["labels"] == 0 and len(others) == 5 and all(0 <= row["miou"] <= 1 for row in others)


def test_a_wrong_hyperparameter_of_a_method_on_one_image_is_reported_in_one_line(run, small_folder):
    assert "--set: sigma" in run("one_image", f"{small_folder} --set sigma=-1", expected=2).stderr


def test_networks_of_one_image_are_trained_at_once_alone_and_by_an_ordinary_loop(run, tmp_path):
    settings = "--set iterations=20 --set width=4 --set scribble_pixels=8192 --set downscalings=1"
    run("one_image_networks", f"--images 3 --size 96x64 --rounds 2 {settings} --out one_image.json")
    rows = {row["method"]: row for row in json.loads((tmp_path / "one_image.json").read_text())["methods"]}
    assert rows.keys() == {"pixelwise", "cnn", "unet"}
    for name, row in rows.items():
        assert row["times ordinary"] > 0 and row["times alone"] > 0
        assert row["at once: mIoU"] == pytest.approx(row["alone: mIoU"], abs=0.01)
        if name != "unet":  # which learns from windows
            assert row["at once: mIoU"] == pytest.approx(row["ordinary: mIoU"], abs=0.01)


def test_a_gpu_run_is_rehearsed_on_a_cpu_and_resumes(run, small_folder, tmp_path):
    words = f"{small_folder} --device cpu --tiny --results results --out folds"
    run("gpu", f"{words} --stages facts,correct --minutes 9")
    (path,) = tmp_path.glob("results/gpu_*.json")
    stages = json.loads(path.read_text())["stages"]
    assert stages["facts"]["copy_gb_per_second"] > 0
    checks = stages["correct"]["checks"]
    assert {"first losses", "losses of a graph", "resume in mid-epoch", "predictions", "onnx"} <= checks.keys()
    assert stages["correct"]["failed"] == [] and checks["resume in mid-epoch, graph"]["identical"]
    run("gpu", f"{words} --resume --minutes 9")
    document = json.loads(path.read_text())
    assert len(document["runs"]) == 2 and document["stages"]["facts"] == stages["facts"], "what is finished is kept"
    loops = document["stages"]["speed"]["loops"]
    assert loops.keys() == {"naive x 1", "graph x 1", "graph x 2"}
    assert loops["naive x 1"]["times_naive"] == 1 and min(row["images_per_second"] for row in loops.values()) > 0
    assert document["stages"]["speed"]["floor"]["gigabytes"] > 0
    folds = json.loads((tmp_path / "results" / document["stages"]["reproduce"]["result"]).read_text())
    assert folds["settings"]["folds"] == 2 and len(list(tmp_path.glob("results/*_masks*.zip"))) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{data} --device cpu", "a full run needs a GPU"),
        ("{data} --stages fast --tiny", "unknown stage 'fast'; known are facts"),
        ("nowhere --device cpu --tiny", "nowhere: has no train/ folder"),
    ],
)
def test_a_gpu_run_reports_mistakes_in_one_line(run, small_folder, words, message):
    assert message in run("gpu", words.format(data=small_folder), expected=2).stderr


@pytest.mark.parametrize(
    ("images", "minutes", "expected"),
    [
        (1000.0, 7.0, (5, 7_500)),  # 319 s x 1000 images/s / 8 = 39,800 steps
        (5000.0, 7.0, (5, 16_000)),  # no more than these
        (600.0, 7.0, (3, 6_000)),  # 23,900 steps: fewer folds rather than shorter ones
    ],
)
def test_the_horizon_fits_into_the_time_that_is_left(images, minutes, expected):
    from benchmarks.gpu import planned

    rows = {
        "naive x 1": {"images_per_second": 9e9},
        "graph x 1": {"images_per_second": images / 2},
        "graph x 4": {"images_per_second": images},
        "fold x 1": {"images_per_second": 1.0},
    }
    plan = planned(rows, argparse.Namespace(tiny=False, later=0.0), 60 * minutes)
    assert (plan["folds"], plan["steps"]) == expected and plan["loop"] == "graph"
    assert plan["packed"] == min(4, plan["folds"])


@pytest.mark.parametrize(
    ("failed", "finished", "code"),
    [([], True, 0), ([], False, 130), (["scores", "onnx"], True, 1), (["onnx"], False, 1)],
)
def test_a_gpu_run_with_a_failed_check_fails(failed, finished, code, capsys):
    from benchmarks.gpu import Run, ended

    stages = {"facts": {"finished": True}, "correct": {"failed": failed, "finished": finished}}
    options = argparse.Namespace(stages=["facts", "correct"])
    assert ended(Run(options, None, "card", Path("gpu.json"), stages=stages)) == code
    assert not failed or f"FAILED checks: {', '.join(failed)}" in capsys.readouterr().err


def test_the_data_of_a_gpu_bundle_keep_classes_groups_and_volumes(class_folder, tmp_path):
    from benchmarks.gpu_bundle import copy_data

    data = tmp_path / "data"
    copy_data(class_folder, data)
    ours, theirs = open_split(data), open_split(class_folder)
    assert ours.stems == theirs.stems and ours.task == theirs.task and ours.task.declared
    assert read_volumes(ours.volumes_file, ours.stems) == read_volumes(theirs.volumes_file, theirs.stems)
    assert read_groups(ours.root / GROUPS, ours.stems) == read_groups(theirs.root / GROUPS, theirs.stems)


def test_a_row_of_the_step_times_is_the_median_of_the_rounds():
    from benchmarks.step_time import MEANS, summary

    def row(images):
        return {
            "images_per_second": images,
            "gpu_peak_mb": None,
            "threads": 1,
            "workers": 0,
            **dict.fromkeys(MEANS, 1.0),
        }

    rounds = [{"naive": row(naive), "fold x 2": row(fold)} for naive, fold in ((1.0, 3.0), (2.0, 4.0), (1.0, 5.0))]
    naive, fold = summary(rounds, {"image_ms": 100.0})
    assert fold["images_per_second"] == 4.0 and fold["times_floor"] == pytest.approx(1000 / (4.0 * 100.0))
    assert fold["times_naive"] == 3.0, "the median of 3, 2 and 5, not the ratio of the medians"
    assert naive["times_naive"] == 1.0


def test_the_bytes_of_a_step_are_those_that_its_operations_read_and_write():
    import torch

    from benchmarks.roofline import BytesMoved

    x, y = torch.ones(100), torch.ones(100)
    with BytesMoved() as moved:
        z = x + y
        z.view(10, 10).t()
        z.add_(x)
    assert moved.total == 2 * 3 * 400


def test_networks_are_measured_beside_the_unet(run, tmp_path):
    done = run(
        "networks",
        "--networks unet-plain --size 64x50 --batch 2 --steps 1 --rounds 1 --device cpu --set encoder=test_resnet "
        "--set attention=none --set width=4 --out found.json",
    )
    result = json.loads((tmp_path / "found.json").read_text())
    unet, plain = result["networks"]
    assert (unet["network"], unet["step_ratio"], unet["peak_ratio"]) == ("unet", 1.0, 1.0)
    assert plain["network"] == "unet-plain" and plain["million_parameters"] < unet["million_parameters"]
    assert plain["step_ratio"] == pytest.approx(plain["step_ms"] / unet["step_ms"])
    assert min(row[key] for row in (unet, plain) for key in ("step_ms", "image_ms", "peak_mb")) > 0
    assert "unet-plain" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [("--networks unet_plain", "Did you mean 'unet-plain'"), ("--size 16x16", "must be at least 32")],
)
def test_mistakes_in_the_measurement_of_networks_are_one_line(run, words, message):
    assert message in run("networks", words, expected=2).stderr
