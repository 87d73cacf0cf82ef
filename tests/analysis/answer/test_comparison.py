"""Two configs side by side: by fold, by image, in pictures, and where one of them is not complete."""

import csv
import io
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scored_run import NAN, scored_run
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.answer.comparison import compare_configs, named
from analysis.answer.disagreements import CAPTIONS
from analysis.answer.selection import winner_of
from search.runs.run_folder import Run
from search.runs.run_tables import read_run
from trainable.augmentation.preview import GAP, TILE
from trainable.data.class_colours import INVENTED, RIGHT, TRUTH
from trainable.errors import UserError

LOSSES = {"loss": {"values": ["iou", "dice"]}}


@pytest.fixture
def program(monkeypatch, small_cache):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(small_cache))

    def run(*words):
        done = CliRunner().invoke(app, ["compare", *map(str, words)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture
def pair(small_run):
    """The winner first."""
    tables = read_run(small_run)
    winner = winner_of(tables).config
    return winner, next(each for each in tables.complete() if each != winner)


@pytest.fixture
def copied(small_run, tmp_path):
    return Run(shutil.copytree(small_run.folder, tmp_path / "copied"))


def test_folds_are_compared_pairwise_and_tested(tmp_path):
    run, (iou, dice) = scored_run(tmp_path, LOSSES, [([0.80, 0.84, 0.88], 1.0), ([0.78, 0.83, 0.85], 1.0)])
    compared = compare_configs(read_run(run), "winner", dice)
    assert (compared.config, compared.other) == (iou, dice)
    assert compared.folds["difference"].tolist() == pytest.approx([0.02, 0.01, 0.03])
    assert compared.tested.difference == pytest.approx(0.02) and compared.tested.folds == 3
    # sd 0.01, and 3 folds of 2 training sets: t = 0.02 / (0.01 * sqrt(1 / 3 + 1 / 2))
    assert compared.tested.t == pytest.approx(0.02 / (0.01 * (1 / 3 + 1 / 2) ** 0.5))
    assert compared.expected.low < compared.expected.mean < compared.expected.high
    assert compared.parameters == {"loss": ("iou", "dice")}


def test_the_other_way_round_every_difference_changes_its_sign(tmp_path):
    run, (iou, dice) = scored_run(tmp_path, LOSSES, [([0.80, 0.84, 0.88], 1.0), ([0.78, 0.83, 0.85], 1.0)])
    tables = read_run(run)
    one, two = compare_configs(tables, iou, dice), compare_configs(tables, dice, iou)
    assert (one.folds["difference"] == -two.folds["difference"]).all()
    assert one.expected.mean == pytest.approx(-two.expected.mean)
    assert one.tested.p == pytest.approx(two.tested.p)


def test_only_common_folds_count_and_missing_ones_are_listed(tmp_path):
    run, (_, dice) = scored_run(tmp_path, LOSSES, [([0.80, 0.84, 0.88], 1.0), ([0.78, (0.5,), NAN], 1.0)])
    compared = compare_configs(read_run(run), "default", dice[:6])
    assert compared.tested.folds == 1 and math.isnan(compared.tested.p)
    assert compared.tested.difference == pytest.approx(0.02)
    assert compared.expected is None, "of a config that failed nobody knows what it would have given"
    assert f"{dice} has no score at full length on folds 1, 2, it failed" in compared.notes


def test_names_that_mean_nothing_are_refused(tmp_path):
    run, (one, _) = scored_run(tmp_path, {"pc": {"values": [1, 2]}}, [([0.8] * 3, 1.0), ([0.7, None, None], 1.0)])
    tables = read_run(run)
    assert named(tables, "winner") == one
    with pytest.raises(UserError, match=r"default of every parameter that varies \(pc\)"):
        named(tables, "default")
    with pytest.raises(UserError, match="are the same config"):
        compare_configs(tables, "winner", one)
    with pytest.raises(UserError, match="no configs of"):
        compare_configs(tables, "winner", "nothing")


def test_images_are_scored_by_the_fold_that_held_them_out(small_run, pair):
    compared = compare_configs(read_run(small_run), *pair)
    assert len(compared.images) == 20 and compared.images["stem"].is_unique
    gaps = compared.images["difference"].abs().tolist()
    assert gaps == sorted(gaps, reverse=True) and gaps[0] > 0
    row = compared.images.iloc[0]
    counts = pd.read_parquet(small_run.folder / "configs" / pair[0] / f"fold_{row['fold']}" / "images.parquet")
    is_it = (counts["stem"] == row["stem"]) & (counts["size"] == "original") & (counts["weights"] == "best")
    tp, fp, fn, tn = counts.loc[is_it, ["tp", "fp", "fn", "tn"]].to_numpy()[0]
    assert row["a"] == pytest.approx((tp / (tp + fp + fn) + tn / (tn + fp + fn)) / 2)


def test_the_picture_shows_what_the_counts_counted(small_run, pair, program, tmp_path):
    """The tile of A has the colours of errors on as many pixels as A's counts have false positives and negatives."""
    done = program(small_run.folder, *pair, "--out", tmp_path / "sheet.png", "--worst", 2)
    assert "2 images, those on which they differ most" in done.stderr
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] == len(CAPTIONS) * (TILE + GAP) - GAP
    row = compare_configs(read_run(small_run), *pair).images.iloc[0]
    counts = pd.read_parquet(small_run.folder / "configs" / pair[0] / f"fold_{row['fold']}" / "images.parquet")
    is_it = (counts["stem"] == row["stem"]) & (counts["size"] == "original") & (counts["weights"] == "best")
    wrong = counts.loc[is_it, ["fp", "fn"]].to_numpy()[0]
    height = round(TILE * 80 / 96)
    top = 3 * (22 + GAP)
    drawn = sheet[top : top + height, 3 * (TILE + GAP) : 3 * (TILE + GAP) + TILE].astype(int)
    colours = np.array([INVENTED, TRUTH, (0, 0, 0), RIGHT])
    nearest = np.abs(drawn[:, :, None] - colours).sum(-1).argmin(-1)
    share = np.bincount(nearest.ravel(), minlength=4)[:2] / nearest.size
    assert share.tolist() == pytest.approx((wrong / (80 * 96)).tolist(), abs=0.03)


def test_every_format_tells_the_same(small_run, pair, program):
    words = (small_run.folder, *pair, "--worst", 0)
    told = json.loads(program(*words, "--format", "json").stdout)
    assert (told["a"], told["b"]) == pair and len(told["images"]) == 20 and len(told["folds"]) == 3
    rows = list(csv.DictReader(io.StringIO(program(*words, "--format", "csv").stdout)))
    assert [row["stem"] for row in rows] == [row["stem"] for row in told["images"]]
    text = program(*words).stdout
    assert "They differ in learning_rate" in text and "Of 20 images" in text


def test_without_models_or_data_the_numbers_stand_and_the_pictures_are_excused(copied, pair, program, tmp_path):
    for path in copied.folder.glob("configs/*/fold_*/best.pt"):
        path.unlink()
    done = program(copied.folder, *pair)
    assert done.exit_code == 0 and "Of 20 images" in done.stdout
    assert "no pictures: " in done.stderr and "best.pt does not exist" in done.stderr
    space = copied.space().canonical()
    (copied.folder / "space.yaml").write_text(json.dumps(space | {"data": str(tmp_path / "gone")}))
    assert "gone: no such folder" in program(copied.folder, *pair).stderr
    assert not (copied.folder / "analysis").exists()


def test_a_run_without_models_is_compared_by_its_folds(tmp_path, program):
    run, pair = scored_run(tmp_path, LOSSES, [([0.80, 0.84, 0.88], 1.0), ([0.78, 0.83, 0.85], 1.0)])
    done = program(run.folder, *pair)
    assert "the mean difference is +0.02" in done.stdout
    assert "images are not compared" in done.stderr and "no pictures" in done.stderr
    told = json.loads(program(run.folder, *pair, "--format", "json").stdout)
    assert told["images"] == [] and told["test"]["folds"] == 3
