"""Published figures beside those of a run: which config is compared, its score and interval, and what is missing."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scored_run import scored_run
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.answer.document import document
from analysis.answer.published import published_figures
from analysis.answer.selection import select
from analysis.report.published import published
from analysis.report.write import write_report
from search.runs.run_folder import ENVIRONMENT, SPACE
from search.runs.run_tables import read_run
from trainable.data.task import Task
from trainable.objectives.metrics import scores, to_columns
from trainable.printing import digits
from trainable.storage.checked_json import write_checked

VALUES = {"kind": {"values": ["a", "b", "c", "d", "e"]}, "size": "96x64"}
NAN = math.nan
SCORES = [[0.71, 0.73, 0.69], [0.51, 0.54, (0.5,)], [None] * 3, [0.6, NAN, None], [0.8, 0.82, 0.78]]
TASK = Task(("background", "RV", "LV"), declared=True)


@pytest.fixture
def run_of(tmp_path):
    """A run with these references, and with counts of 3 images and classes per fold that its scores are of."""

    def make(references, counts=True):
        run, ids = scored_run(tmp_path, VALUES, [(row, 1.0) for row in SCORES])
        (run.folder / SPACE).write_text(json.dumps(run.space().canonical() | {"references": references}))
        write_checked(run.folder / ENVIRONMENT, run.environment() | {"classes": list(TASK.classes), "volumes": True})
        for number, config in enumerate(ids if counts else []):
            for fold, score in enumerate(SCORES[number]):
                if isinstance(score, float) and score == score:
                    folder = run.folder / "configs" / config / f"fold_{fold}"
                    folder.mkdir(parents=True)
                    table(number, fold).to_parquet(folder / "images.parquet")
        return read_run(run), ids

    return make


def confusion(number, fold):
    return np.random.default_rng((number, fold)).integers(5, 50, (3, 3, 3)) + 100 * np.eye(3, dtype=np.int64)


def table(number, fold):
    rows = pd.DataFrame(to_columns(confusion(number, fold)))
    stems = [f"{fold}-{image}" for image in range(3)]
    return rows.assign(stem=stems, volume=[f"v{fold}", f"v{fold}", f"w{fold}"], weights="last", size="working", step=2)


def reference(where, **published):
    return {"source": "A text", "where": where, "scores": published, "note": "other images"}


def test_a_metric_of_a_class_or_of_volumes_is_the_mean_over_folds_with_an_interval(run_of):
    tables, ids = run_of([reference({"kind": "a"}, dice_RV=0.8, dice_volume=0.7, iou_background=0.6)])
    for each in published_figures(tables):
        folds = [scores(confusion(0, fold), TASK, [f"v{fold}", f"v{fold}", f"w{fold}"]) for fold in range(3)]
        assert each.ours == pytest.approx(np.mean([fold[each.metric] for fold in folds]))
        assert each.low < each.high and (each.config, each.folds, each.of) == (ids[0], 3, 3)
        assert each.difference == pytest.approx(each.ours - each.published)
        assert (each.images, each.size, each.note) == (9, "96x64", "other images")


def test_of_several_configs_the_best_by_the_metric_of_the_run_is_compared(run_of):
    tables, ids = run_of([reference({"kind": ["a", "b", "e"]}, miou=0.5), reference({}, miou=0.5)], counts=False)
    some, every = published_figures(tables)
    assert (some.config, some.matching, some.ours) == (ids[4], 2, pytest.approx(0.8))
    assert (every.config, every.where, every.low, every.images) == (ids[4], "all", None, None)


@pytest.mark.parametrize(
    ("where", "state"),
    [("b", "2 of 3 folds"), ("c", "not run"), ("d", "1 of 3 folds, failed"), (["b", "c"], "2 of 3 folds")],
)
def test_a_config_without_all_folds_has_no_figure_but_says_what_it_has(run_of, where, state):
    tables, _ = run_of([reference({"kind": where}, miou=0.5, dice=0.6)])
    for each in published_figures(tables):
        assert (each.state, each.ours, each.difference, each.low, each.config) == (state, None, None, None, None)


def test_a_metric_that_the_data_do_not_have_is_said_to_be_so(run_of):
    tables, _ = run_of([reference({"kind": "a"}, dice_MYO=0.8)])
    assert [each.state for each in published_figures(tables)] == ["not a metric of these data"]


def test_counts_are_needed_for_any_other_metric_than_that_of_the_run(run_of):
    tables, _ = run_of([reference({"kind": "a"}, dice_RV=0.8, miou=0.6)], counts=False)
    other, own = published_figures(tables)
    assert (other.state, other.ours) == ("no counts per image", None)
    assert own.ours == pytest.approx(0.71) and own.low is None


def test_json_the_report_and_the_command_show_them(run_of):
    tables, ids = run_of([reference({"kind": "a"}, dice_RV=0.8), reference({"kind": "c"}, miou=0.12345)])
    first, second = document(tables, select(tables))["references"]
    assert (first["config"], first["metric"], second["state"]) == (ids[0], "dice_RV", "not run")
    assert first["difference"] == pytest.approx(first["ours"] - 0.8)
    path, sections = write_report(tables, select(tables))
    (section,) = [each for each in sections if each.name == "published"]
    assert section.title == "Published figures beside ours" in path.read_text()
    html = "".join(block.html for block in section.blocks)
    assert f"<td>{digits(first['ours'])}</td>" in html and f"<td>{digits(first['difference'], sign=True)}</td>" in html
    assert "0.12345" in html and "not run" in html and html.count("other images") == 1
    shown = CliRunner().invoke(app, ["best", str(tables.run.folder)], env={"COLUMNS": "250"})
    assert "published figures beside ours" in shown.stdout and "not run" in shown.stdout


@pytest.mark.parametrize(
    ("metrics", "grouped", "units"),
    [
        (("dice_RV",), False, "images"),
        (("dice_volume",), False, "volumes"),
        (("dice_RV", "dice_volume"), False, "images or volumes"),
        (("dice_RV", "dice_volume"), True, "groups or volumes"),  # each volume is a group of its own
    ],
)
def test_the_report_says_what_intervals_are_over(run_of, monkeypatch, metrics, grouped, units):
    tables, _ = run_of([reference({"kind": "a"}, **dict.fromkeys(metrics, 0.5))])
    volumes = {f"{fold}-{image}": f"{'vvw'[image]}{fold}" for fold in range(3) for image in range(3)}
    monkeypatch.setattr(type(tables), "groups", volumes if grouped else {})
    figures = published_figures(tables)
    assert {each.units for each in figures} == set(units.split(" or "))
    assert all(each.low is not None for each in figures)
    assert f"; its interval is over {units}. Of several configs" in published(tables, figures).blocks[0].html


def test_a_run_without_references_has_no_such_section(run_of):
    tables, _ = run_of([])
    assert "references" not in document(tables, select(tables))
    path, sections = write_report(tables, select(tables))
    assert "published" not in [each.name for each in sections] and "Published figures" not in path.read_text()


def test_all_figures_of_a_reference_are_of_the_same_config_though_another_is_better_by_some(run_of):
    names = ("miou", "dice_RV", "dice_LV", "iou_background", "pixel_accuracy")
    tables, ids = run_of([reference({"kind": ["a", "e"]}, **dict.fromkeys(names, 0.5))])
    others = 0
    for each in published_figures(tables)[1:]:
        a, e = (np.mean([scores(confusion(number, fold), TASK)[each.metric] for fold in range(3)]) for number in (0, 4))
        assert (each.config, each.ours) == (ids[4], pytest.approx(e))
        others += int(a > e)
    assert others > 0
