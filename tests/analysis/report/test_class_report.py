"""The report of several classes: scores per class, confusion, volumes and pictures; two classes stay as they were."""

import re
from html import unescape

import numpy as np
import pandas as pd
import pytest
from dice_by_hand import mean_of_known
from scored_run import scored_run

from analysis.answer.selection import select
from analysis.report.classes import classes
from analysis.report.image_panels import Predicted, _over, panels, strips
from analysis.report.write import sections, write_report
from search.runs.run_folder import ENVIRONMENT
from search.runs.run_tables import read_run
from trainable.data.class_colours import INVENTED, RIGHT, TRUTH, errors
from trainable.data.task import TWO_CLASSES, Task
from trainable.printing import digits
from trainable.storage.checked_json import write_checked

NAMES = ("ring", "core", "crescent")
ON_SCRIBBLES = "The data have no masks: scores are of the scribbled pixels of held-out images only."


class Made:
    """A run's report: its sections by name, its figures by name, and the text of a section."""

    def __init__(self, run):
        self.tables = read_run(run)
        self.selection = select(self.tables)
        self.path, found = write_report(self.tables, self.selection, run.folder.parent / f"report-{run.name}")
        self.sections = {each.name: each for each in found}
        self.figures = {figure.name: figure for each in found for figure in each.figures}
        self.page = self.path.read_text()

    def html(self, section):
        return unescape("".join(getattr(block, "html", "") for block in self.sections[section].blocks))


@pytest.fixture(scope="module")
def made(class_run):
    return Made(class_run)


@pytest.fixture(scope="module")
def on_scribbles(scribble_run):
    return Made(scribble_run)


def cells(html):
    """The rows of a table as text, the header first."""
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def dices(matrix):
    """Dice of every class but the first, from its definition."""
    totals = [matrix[k].sum() + matrix[:, k].sum() for k in (1, 2, 3)]
    return [2 * matrix[k, k] / total if total else None for k, total in zip((1, 2, 3), totals, strict=True)]


def by_volume(tables, config):
    images = tables.images([config], "best", "original")
    counts = tables.counts(images)
    return {volume: dices(counts[images["volume"] == volume].sum(axis=0)) for volume in sorted(set(images["volume"]))}


def test_the_table_has_dice_by_volume_of_each_class_and_config(made):
    head, *rows = cells(made.html("classes"))
    assert head == ["config", "folds", "mean", *NAMES]
    assert {row[0] for row in rows} == set(made.tables.complete())
    for config, folds, mean, *values in rows:
        volumes = by_volume(made.tables, config).values()
        expected = [mean_of_known([volume[k] for volume in volumes]) for k in range(3)]
        assert folds == "3" and [float(value) for value in values] == pytest.approx(expected, abs=6e-5)
        assert float(mean) == pytest.approx(np.mean(expected), abs=6e-5)
    assert "Dice of whole volumes" in made.html("classes") and "is left out" in made.html("classes")


def test_the_confusion_is_that_of_the_winners_held_out_pixels(made):
    own = made.tables.images([made.selection.winner.config], "best", "original")
    pooled = made.tables.counts(own).sum(axis=0)
    (trace,) = made.figures["confusion"].traces
    assert trace["x"] == trace["y"] == ["background", *NAMES]
    assert np.allclose(trace["z"], pooled / pooled.sum(axis=1, keepdims=True))
    assert trace["text"][1][2] == f"{pooled[1, 2] / pooled[1].sum():.1%}"
    worst = max((pooled[i, j] / pooled[i].sum(), i, j) for i in (1, 2, 3) for j in range(4) if i != j)
    named = ["background", *NAMES]
    assert made.figures["confusion"].title == f"{worst[0]:.1%} of {named[worst[1]]} is taken for {named[worst[2]]}"
    assert f"n = 24 held-out images, {24 * 96 * 80:,} pixels" in made.figures["confusion"].caption


def test_the_strip_has_a_point_for_each_volume_and_class_in_its_colour(made):
    expected = by_volume(made.tables, made.selection.winner.config)
    figure = made.figures["volumes"]
    points = {trace["name"]: trace for trace in figure.traces if trace["mode"] == "markers"}
    assert list(points) == list(NAMES)
    for k, name in enumerate(NAMES):
        known = [values[k] for values in expected.values() if values[k] is not None]
        assert points[name]["y"] == pytest.approx(known)
        assert all(abs(x - k) < 0.5 for x in points[name]["x"]), "over the name of its class"
    colours = [points[name]["marker"]["color"] for name in NAMES]
    assert colours == ["rgb(230,159,0)", "rgb(86,180,233)", "rgb(0,158,115)"]
    assert figure.layout["xaxis"]["ticktext"] == list(NAMES) and "n = 6 volumes" in figure.caption
    means = {volume: mean_of_known(values) for volume, values in expected.items()}
    worst = min(means, key=means.get)
    assert figure.title == f"{worst} is the worst volume, with a mean Dice of {digits(means[worst])}"


def test_many_classes_have_figures_of_full_width(made, monkeypatch):
    assert made.figures["confusion"].half and made.figures["volumes"].half
    monkeypatch.setattr("analysis.report.classes.BESIDE", 3)
    section = classes(made.tables, made.selection)
    assert not any(figure.half for figure in section.figures)


def test_pictures_have_a_legend_of_the_classes_and_the_dice_of_their_image(made):
    html = made.html("images")
    legend = html[html.index("Worst") : html.index("data:image")]
    for name, colour in zip(NAMES, ("230,159,0", "86,180,233", "0,158,115"), strict=True):
        assert re.search(rf"background:rgb\({colour}\)\"></i>{name}<", legend)
    counts = made.tables.images([made.selection.winner.config], "best", "original").set_index("stem")
    shown = re.findall(r'class="more">(\S+), fold (\d), mean Dice ([\d.]+)<', html)
    assert len(shown) == 8
    for stem, fold, told in shown:
        matrix = made.tables.counts(counts.loc[[stem]])[0]
        assert int(fold) == counts.loc[stem]["fold"]
        assert float(told) == pytest.approx(mean_of_known(dices(matrix)), abs=6e-4)
    scores = [float(told) for *_, told in shown]
    assert scores[:4] == sorted(scores[:4]) and min(scores[4:]) >= max(scores[:4])
    calibration = made.figures["calibration"]
    assert "probability of the predicted class" in calibration.layout["xaxis"]["title"]["text"]
    assert "held-out images, scribbled pixels included. n = " in calibration.caption


def test_panels_show_classes_over_the_image_and_errors_in_the_predicted_colour():
    image = np.full((4, 4, 3), 100, np.uint8)
    truth = np.array([[0, 1, 2, 15]] * 4, np.uint8)
    drawn = _over(image, truth)
    assert (drawn[:, 0] == 70).all(), "the background shows the image"
    assert (drawn[:, 1] == (0.3 * 70 + 0.7 * np.array([230, 159, 0])).astype(np.uint8)).all()
    mask = np.array([[1, 1, 0, 2]] * 4, np.uint8)
    error = errors(mask, truth, Task(("background", "a", "b"), declared=True))[0].tolist()
    assert error == [[230, 159, 0], [57, 39, 0], [255, 255, 255], [21, 45, 58]], "wrong, right, missed, ignored"


def test_pixels_that_are_not_scored_are_no_errors_of_two_classes():
    image = np.full((1, 5, 3), 100, np.uint8)
    mask, truth = np.array([[1, 1, 0, 1, 0]], np.uint8), np.array([[0, 1, 1, 15, 15]], np.uint8)
    one = Predicted("s", 0, 0.5, TWO_CLASSES, image, truth, truth, mask.astype(np.float32), 0.5)
    assert panels(one)["error"][0].tolist() == [list(INVENTED), list(RIGHT), list(TRUTH), [0, 0, 0], [0, 0, 0]]


def test_names_of_classes_are_text_in_the_legend():
    task = Task(("background", "a<b", "core"), declared=True)
    pixels = np.zeros((4, 4), np.uint8)
    one = Predicted(
        "s", 0, 0.5, task, np.zeros((4, 4, 3), np.uint8), pixels, pixels, np.zeros((3, 4, 4), np.float32), 0.5
    )
    assert "a&lt;b" in strips("Worst", [one], "").html


def test_a_report_without_masks_says_so_at_every_score(on_scribbles):
    assert ON_SCRIBBLES in unescape(on_scribbles.html("answer"))
    assert ON_SCRIBBLES in on_scribbles.html("classes")
    assert "scribbled pixels." in on_scribbles.figures["confusion"].caption
    assert "scribbled pixels only" in on_scribbles.figures["volumes"].caption
    assert "at original size, of scribbled pixels only" in on_scribbles.html("images")
    scribbled = on_scribbles.tables.counts(
        on_scribbles.tables.images([on_scribbles.selection.winner.config], "best", "original")
    )
    assert f"{scribbled.sum():,} scribbled pixels" in on_scribbles.figures["confusion"].caption
    assert scribbled.sum() < 24 * 96 * 80 / 4
    assert "held-out images, scribbled pixels only. n = " in on_scribbles.figures["calibration"].caption


def test_the_validation_split_has_a_column_of_its_own(on_scribbles):
    head, *rows = cells(on_scribbles.html("classes"))
    assert head == ["config", "folds", "mean", *NAMES, "dice on val"], "a split that is not one of volumes"
    import json

    for row in rows:
        folder = on_scribbles.tables.run.folder / "configs" / row[0]
        values = [
            json.loads((folder / f"fold_{fold}/scores.json").read_text())["best"]["validation"]["dice"]
            for fold in range(3)
        ]
        assert float(row[-1]) == pytest.approx(np.mean(values), abs=6e-5)
    assert "which nothing was trained on or selected by" in on_scribbles.html("classes")


def test_two_classes_have_no_section_of_classes(small_run):
    tables = read_run(small_run)
    selection = select(tables)
    found = sections(tables, selection)
    assert classes(tables, selection) is None and "classes" not in [each.name for each in found]
    text = "".join(getattr(block, "html", "") for each in found for block in each.blocks)
    assert "mean Dice" not in text and "scribbled pixels" not in text and "of 20 out-of-fold images; IoU" in text


def test_volumes_of_two_classes_without_any_foreground_count_1(tmp_path):
    """One volume per fold, of which that of fold 1 has none in truth and prediction."""
    run, ids = scored_run(tmp_path, {"loss": {"values": ["iou", "dice"]}}, [([0.8] * 3, 1.0), ([0.7] * 3, 1.0)])
    write_checked(run.folder / ENVIRONMENT, run.environment() | {"classes": ["background", "lesion"], "volumes": True})
    for config in ids:
        for fold, lesion in enumerate((20, 0, 10)):
            folder = run.folder / "configs" / config / f"fold_{fold}"
            folder.mkdir(parents=True)
            row = {"stem": str(fold), "volume": f"v{fold}", "tp": lesion, "fp": 0, "fn": lesion // 2, "tn": 70}
            pd.DataFrame([row]).assign(weights="best", size="original", step=2).to_parquet(folder / "images.parquet")
    tables = read_run(run)
    section = classes(tables, select(tables))
    (figure,) = section.figures
    (points,) = [trace for trace in figure.traces if trace["mode"] == "markers"]
    assert points["y"].tolist() == pytest.approx([0.8, 1.0, 0.8]) and "n = 3 volumes" in figure.caption
    assert points["text"] == ["v0, fold 0", "v1, fold 1", "v2, fold 2"]
    note = unescape(section.blocks[0].html)
    assert "neither truth nor prediction shows in a volume counts 1." in note and "0.8667" in note


def test_before_a_fold_has_finished_the_section_says_what_is_missing(made, tmp_path):
    import shutil
    from dataclasses import replace

    from search.runs.run_folder import Run

    copy = shutil.copytree(
        made.tables.run.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.parquet", "*.pt")
    )
    tables = replace(made.tables, run=Run(copy))
    section = classes(tables, select(tables))
    assert "Scores per class appear when a fold trial has finished" in section.blocks[0].html
