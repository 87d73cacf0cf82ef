"""Launching and planning of methods on single images: labels, data, and the time of an image."""

import shutil

import pytest
from fold_models_run import write_fold_models

from search.planning import calibration, image_trials
from search.planning.files import weights_files
from search.planning.plan import PlanOptions, make_plan
from search.planning.plan_output import lines
from search.planning.trial_kinds import KINDS, kind_of
from spaces.load import make_space
from spaces.schema.trainables import TRAINABLES
from trainable.data.folds import folds_of
from trainable.data.image_files import open_files
from trainable.errors import UserError
from trainable.jobs import JOBS
from trainable.machine.hardware import cpu_name
from trainable.preflight.image_probe import time_images


def space(folder, metric="miou", **more):
    methods = {"method": {"values": ["nearest", "random_walker"]}, "walker_beta": 90}
    methods["walker_beta"] = {"values": [50, 500], "when": {"method": "random_walker"}}
    values = {"name": "images", "data": str(folder), "folds": 4, "trainable": "image", "metric": {"name": metric}}
    return make_space(values | {"parameters": methods | {"steps": 10}, "resources": {"gpu": 0, "cpu": 1}} | more)


def test_every_kind_of_fold_trial_can_be_planned_and_run():
    assert KINDS.keys() == TRAINABLES.keys() == JOBS.keys() | {"scripted"}


def test_folds_are_made_of_the_files_without_decoding(small_folder, small_data, monkeypatch, tmp_path):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    data = kind_of(space(small_folder)).open(space(small_folder))
    assert folds_of(data, 4, 0) == folds_of(small_data, 4, 0) and not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("gone", "more", "problem"),
    [
        ("scribbles", {}, "has no scribbles/, which is all that methods go by"),
        ("ground_truth", {}, "has no ground_truth/ to score with"),
        (None, {"validation": "test1"}, "validation = test1: methods learn nothing"),
        (None, {"metric": "dice_volume"}, "metric 'dice_volume'"),
        (None, {"metric": "iou_heart"}, "metric 'iou_heart': unknown"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_anything_starts(small_folder, tmp_path, gone, more, problem):
    data = shutil.copytree(small_folder, tmp_path / "data")
    (data / "dataset.yaml").write_text("classes: [background, foreground]\n")
    if gone:
        shutil.rmtree(data / "train" / gone)
    with pytest.raises(UserError, match=problem):
        make_plan(space(data, **more), PlanOptions())


def test_the_plan_of_stated_and_assumed_times_is_arithmetic(small_folder):
    # 3 configs, 4 folds of 5 images; 10 steps a fold.
    stated = make_plan(space(small_folder), PlanOptions(step_seconds=0.5, slots=1))
    assert stated.steps == 120 and stated.grid.gpu_seconds == pytest.approx(60)
    assumed = make_plan(space(small_folder), PlanOptions(slots=1))
    assert assumed.grid.gpu_seconds == pytest.approx(3 * 20 * image_trials.ASSUMED_SECONDS)
    text = "\n".join(text for _, text in lines(assumed))
    assert "ASSUMED, not measured: 1 s per image" in text and "that of a step, an equal share of a fold" in text
    elsewhere = make_plan(space("nowhere"), PlanOptions(slots=1))
    assert (
        elsewhere.grid.gpu_seconds == pytest.approx(3 * 228)
        and "228 images are assumed" in elsewhere.estimates.notes[0]
    )


@pytest.fixture
def timed(monkeypatch, tmp_path):
    """The methods that were timed, with times of this test's own."""
    asked = []

    def time_method(work, config, *rest):
        asked.append(config.method)
        assert rest[-1] == "cpu", "resources.gpu = 0"
        return "a processor", {"nearest": 1.0, "random_walker": 3.0}[config.method]

    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(calibration, "accelerators", lambda: ["a GPU"])
    monkeypatch.setattr(calibration, "cpu_name", lambda: "a processor")
    monkeypatch.setattr(image_trials, "in_fresh_process", time_method)
    return asked


def test_measured_times_of_a_method_stand_for_its_other_configs(small_folder, monkeypatch, timed):
    monkeypatch.setattr(image_trials, "MAX_SHAPES", 2)
    plan = make_plan(space(small_folder), PlanOptions(calibrate=True, slots=1))
    assert timed == ["nearest", "random_walker"] and plan.grid.gpu_seconds == pytest.approx(20 * (1 + 3 + 3))
    assert "up to 3 s per image" in plan.estimates.description and plan.estimates.source == "measured here"
    again = make_plan(space(small_folder), PlanOptions(slots=1))
    assert len(timed) == 2 and again.grid == plan.grid and again.estimates.source == "remembered"
    assert "remembered: up to 3 s per image, 5 images a fold, 20" in again.estimates.description


@pytest.mark.parametrize("other", ["threads", "device", "classes", "a method without a time"])
def test_times_of_other_circumstances_are_not_remembered(small_folder, tmp_path, monkeypatch, timed, other):
    make_plan(space(small_folder), PlanOptions(calibrate=True, slots=1))
    data, more = small_folder, {}
    if other == "threads":
        more = {"resources": {"gpu": 0, "cpu": 2}}
    elif other == "device":
        more = {"resources": {"gpu": 1, "cpu": 1}}
    elif other == "classes":
        data = shutil.copytree(small_folder, tmp_path / "data")
        (data / "dataset.yaml").write_text("classes: [background, foreground, third]\n")
    else:
        more = {"parameters": {"method": {"values": ["nearest", "grabcut"]}, "steps": 10}}
    assert make_plan(space(data, **more), PlanOptions(slots=1)).estimates.source == "assumed"


def test_a_method_is_timed_in_whole_batches(small_folder):
    from trainable.config import make_image_config
    from trainable.preflight.image_probe import time_images

    device, seconds = time_images(make_image_config({}), small_folder, 1, "cpu")
    assert device == cpu_name() and 0 < seconds < 10
    with pytest.raises(UserError, match="device = 'cuda:99'"):
        time_images(make_image_config({}), small_folder, 1, "cuda:99")


def with_features(folder, source, **values):
    parameters = {"method": "colour_distributions", "features": "fold", "features_from": str(source), **values}
    return space(folder, parameters=parameters)


def test_models_of_other_folds_and_networks_that_cannot_be_built_are_refused_before_anything_starts(
    small_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    files = open_files(small_folder)
    same, other = (write_fold_models(tmp_path / f"seed{seed}", folds_of(files, 4, seed)) for seed in (0, 1))
    own = with_features(small_folder, same)
    kind_of(own).check_models(own, files, weights_files(own))
    theirs = with_features(small_folder, other)
    with pytest.raises(UserError, match=r"seed1: needs the same data and folds: .* its fold_seed is 1, here it is 0$"):
        kind_of(theirs).check_models(theirs, files, weights_files(theirs))
    unknown = space(small_folder, parameters={"method": "finetune", "features": "encoder", "encoder": "resnet99"})
    with pytest.raises(UserError, match="resnet99"):
        kind_of(unknown).check_models(unknown, files, {})


def test_a_method_with_features_is_timed_with_those_of_one_fold(small_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    source = write_fold_models(tmp_path / "source", folds_of(open_files(small_folder), 4, 0))
    (point,) = with_features(small_folder, source, features_channels=2).configs()
    device, seconds = time_images(point.config, small_folder, 1, "cpu")
    assert device and 0 < seconds < 60
