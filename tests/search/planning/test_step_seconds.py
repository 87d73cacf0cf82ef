"""The sources of step times: assumed, stated by a script, measured here, remembered."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from planned_space import GRID, space

from search.planning import calibration
from search.planning.plan import PlanOptions, make_plan, planned, slots_here
from search.planning.plan_output import document, lines
from search.planning.step_seconds import estimate_steps
from spaces.load import make_space
from trainable.config import make_config
from trainable.preflight.step_times import StepTime, place_of, recall, remember, shape_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_assumed_times_are_marked_and_scale_with_batch_and_pixels():
    plan = make_plan(space(), PlanOptions(slots=1))
    # 16 ms x (8 x 64 x 64) / (8 x 480 x 352) at batch 8, half of that at batch 4.
    step = 0.016 * 64 * 64 / (480 * 352)
    durations = {point.config.batch_size: plan.estimates.by_config[point.id] for point in planned(space())}
    assert (durations[8].step, durations[4].step) == pytest.approx((step, step / 2))
    # 228 images are assumed and half of them held out: 114 / 8 batches of a third of a step.
    assert durations[8].evaluation == pytest.approx(114 / 8 * step / 3)
    output = "\n".join(text for _, text in lines(plan))
    assert "ASSUMED, not measured" in output and "--calibrate" in output
    assert "nowhere is not on this machine: 228 images are assumed" in output


def test_a_note_says_that_assumed_times_do_not_fit_a_machine_without_a_gpu(monkeypatch):
    plan = make_plan(space(), PlanOptions())
    assert plan.slots == 1 and "this machine has no GPU and is much slower" in "\n".join(plan.estimates.notes)
    assert make_plan(space(), PlanOptions(slots=3)).slots == 3
    assert make_plan(space(), PlanOptions(step_seconds=1.0)).slots == slots_here(space().settings.resources)
    for module in ("search.planning.step_seconds", "search.planning.plan", "search.planning.calibration"):
        monkeypatch.setattr(f"{module}.accelerators", lambda: ["Some GPU"] * 4)
    plan = make_plan(space(), PlanOptions())
    assert plan.slots == slots_here(space().settings.resources)
    assert not any("no GPU" in note for note in plan.estimates.notes)
    monkeypatch.setattr("search.planning.plan.cores", lambda: 64)
    assert make_plan(space(resources={"gpu": 0.4}), PlanOptions()).slots == 8, "a fraction fits on a single GPU"


def test_local_images_are_counted_and_measured(small_folder):
    here = space(data=str(small_folder), parameters={"size": "auto"})
    plan = make_plan(here, PlanOptions(slots=1))
    # 20 images of 96x80, trained at 96x64; 10 are held out.
    assert plan.estimates.by_config[plan.estimates.largest].step == pytest.approx(0.016 * 96 * 64 / (480 * 352))
    assert not any("not on this machine" in text for _, text in lines(plan))
    assert "batch 8 at 96x64" in plan.estimates.description


def test_only_measurements_on_this_device_are_remembered(monkeypatch):
    monkeypatch.setattr(calibration, "cpu_name", lambda: "Some processor")
    points = planned(space())
    shapes = {point.config.batch_size: shape_of(point.config, (64, 64), "low") for point in points}
    remember(place_of("Some processor", 2), shapes[8], StepTime(9.0, 9.0, "2026-01-01"))
    remember(place_of("Another", 1), shapes[8], StepTime(9.0, 9.0, "2026-01-01"))
    remember(place_of("Some processor", 1), shapes[4], StepTime(9.0, 9.0, "2026-01-01"))
    assert estimate_steps(space(), points, None, False).source == "assumed", "the largest config was not measured here"
    remember(place_of("Some processor", 1), shapes[8], StepTime(5.0, 0.5, "2026-01-01"))
    remember(place_of("Some processor", 1), shapes[8], StepTime(0.2, 0.01, "2026-01-02"))
    estimates = estimate_steps(space(), points, None, False)
    assert estimates.source == "remembered" and "2026-01-02" in estimates.description
    assert {point.config.batch_size: estimates.by_config[point.id].step for point in points} == {4: 9.0, 8: 0.2}
    assert estimates.by_config[estimates.largest].evaluation == pytest.approx(0.01 * 228 / 2)
    larger = space(parameters={"batch_size": {"values": [4, 16]}})
    assert estimate_steps(larger, planned(larger), None, False).source == "assumed"


@pytest.mark.parametrize("gpu", [0, 1])
def test_steps_are_measured_and_remembered_on_the_device_of_fold_trials(monkeypatch, gpu):
    def measured(*arguments):
        return "a processor" if arguments[-1] == "cpu" else "Some GPU", StepTime(1.0, 0.1, "2026-01-01")

    monkeypatch.setattr(calibration, "accelerators", lambda: ["Some GPU"])
    monkeypatch.setattr(calibration, "cpu_name", lambda: "a processor")
    monkeypatch.setattr(calibration, "fresh_processes", ThreadPoolExecutor)
    monkeypatch.setattr(calibration, "_measure", measured)
    own, other = (space(resources={"gpu": share, "cpu": 1}) for share in (gpu, 1 - gpu))
    found = estimate_steps(own, planned(own), None, 2).description
    assert found.endswith("on a processor" if gpu == 0 else "on Some GPU")
    assert estimate_steps(own, planned(own), None, False).source == "remembered"
    assert estimate_steps(other, planned(other), None, False).source == "assumed"


@pytest.mark.parametrize(
    ("values", "text"),
    [({"recipe": "mean_teacher"}, "mean_teacher"), ({"lambda_crf": 0.1, "crf_radius": 9}, "CRF of radius 9")],
)
def test_recipes_and_a_crf_have_step_times_of_their_own(values, text):
    usual, other = (shape_of(make_config({"supervision": "scribbles", **own}), (64, 64), "low") for own in ({}, values))
    remember(place_of("here", 1), usual, StepTime(0.1, 0.1, "2026-01-01"))
    assert recall(place_of("here", 1), [usual, other]).keys() == {usual}
    assert str(other) == f"{usual}, {text}"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1, "entries": [{"of": 3, "took": {}}]}', '{"version": 9}']
)
def test_a_damaged_file_of_step_times_is_ignored_and_rewritten(tmp_path, text):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/step_times.json").write_text(text)
    shape = shape_of(planned(space())[0].config, (64, 64), "low")
    assert recall(place_of("here", 1), [shape]) == {}
    remember(place_of("here", 1), shape, StepTime(0.1, 0.1, "2026-01-01"))
    assert recall(place_of("here", 1), [shape]) == {shape: StepTime(0.1, 0.1, "2026-01-01")}


def test_a_script_states_its_step_time():
    scripted = make_space(
        {
            "name": "scripted",
            "folds": 3,
            "trainable": "scripted",
            "parameters": {"quality": {"values": [0.7, 0.8]}, "steps": 10, "step_seconds": 0.5, "evaluations": 2},
        }
    )
    plan = make_plan(scripted, PlanOptions(slots=1))
    assert plan.grid.gpu_seconds == pytest.approx(2 * 3 * 10 * 0.5) and plan.estimates.source == "stated"
    instant = make_space(scripted.canonical() | {"parameters": {"quality": 0.8, "steps": 10}, "scheduler": "foldrace"})
    assert document(make_plan(instant, PlanOptions(slots=1)))["share"] is None


def test_times_of_one_network_are_no_times_of_another():
    """Width and depth make another network; those of a U-Net are found under the key that the first version wrote."""
    own = {"architecture": "unet-plain", "depth": 3, "batch_size": 8}
    wide, narrow = (
        shape_of(planned(space(parameters={**own, "width": width}))[0].config, (64, 64), "low") for width in (64, 32)
    )
    remember(place_of("here", 1), wide, StepTime(3.0, 1.0, "2026-01-01"))
    assert recall(place_of("here", 1), [wide, narrow]) == {wide: StepTime(3.0, 1.0, "2026-01-01")}
    unet = shape_of(planned(space())[0].config, (64, 64), "low")
    remember(place_of("here", 1), unet, StepTime(1.0, 1.0, "2026-01-01"))
    (_, entry) = json.loads(Path(os.environ["SCRIBBLE_SEARCH_CACHE"], "step_times.json").read_text())["entries"]
    assert {key: value for key, value in entry["of"].items() if key not in ("device", "threads", "torch")} == {
        "architecture": "unet",
        "encoder": "efficientnet-b2",
        "attention": "scse",
        "width": 64,
        "height": 64,
        "batch_size": 4,
        "precision": "auto",
        "augmentation": "low",
        "acceleration": "auto",
    }


def test_unmeasured_times_are_scaled_from_the_same_network(monkeypatch):
    monkeypatch.setattr(calibration, "cpu_name", lambda: "Some processor")
    both = {
        "architecture": "unet-plain",
        "width": {"values": [32, 64]},
        "batch_size": {"values": [4, 8]},
        "loss": "iou",
    }
    found = space(parameters=both)
    points = {(point.config.width, point.config.batch_size): point for point in planned(found)}
    for width, seconds in ((32, 1.0), (64, 5.0)):
        shape = shape_of(points[width, 8].config, (64, 64), "low")
        remember(place_of("Some processor", 1), shape, StepTime(seconds, 0.1, "2026-01-01"))
    by_config = estimate_steps(found, list(points.values()), None, False).by_config
    assert [by_config[points[width, 4].id].step for width in (32, 64)] == [0.5, 2.5]


TINY = {"encoder": "test_resnet", "attention": "none", "batch_size": {"values": [2, 4]}, "loss": "iou"}


@pytest.mark.parametrize("more", [{}, {"class_weights": "1,3,3,3"}], ids=["two classes", "four classes"])
def test_the_largest_config_is_measured_first_on_generated_images(tmp_path, monkeypatch, more):
    """In this process, and for few steps."""
    monkeypatch.setattr(calibration, "fresh_processes", ThreadPoolExecutor)
    monkeypatch.setattr("trainable.preflight.calibration.SECONDS", 0.0)
    tiny = space(parameters=TINY | more)
    estimates = estimate_steps(tiny, planned(tiny), None, 2)
    assert estimates.source == "measured here"
    assert all(each.step > 0 and each.evaluation > 0 for each in estimates.by_config.values())
    entries = json.loads((tmp_path / "cache/step_times.json").read_text())["entries"]
    assert [entry["of"]["batch_size"] for entry in entries] == [4, 2]


def test_a_calibration_measures_real_steps_and_is_remembered_without_loading_torch(tmp_path, small_folder, fork_server):
    """On the data, in a separate process; the plans share one process, which knows the sizes of the networks."""
    program = """
import multiprocessing
import sys
import search.runs.disk
from search.__main__ import app
search.runs.disk.weight_bytes = lambda configs: {each.id: 1 for each in configs}
multiprocessing.set_executable(sys.argv[2])
for options in ([], ["--calibrate"], []):
    app(["plan", sys.argv[1], "--slots", "1", "--format", "json", *options], standalone_mode=False)
sys.exit(" ".join({"torch", "ray", "optuna"} & set(sys.modules)) or 0)
"""
    path = tmp_path / "tiny.yaml"
    parameters = GRID["parameters"] | TINY | {"batch_size": 4}
    path.write_text(json.dumps(GRID | {"data": str(small_folder), "parameters": parameters}))
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), str(fork_server.python)],
        env=os.environ | fork_server.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assumed, measured, again = _documents(done.stdout)
    assert assumed["step_seconds"]["source"] == "assumed"
    assert measured["step_seconds"]["source"] == "measured here" and measured["step_seconds"]["notes"] == []
    assert measured["step_seconds"]["seconds"] > 0 and measured["step_seconds"]["evaluation"] > 0
    assert again["step_seconds"]["source"] == "remembered" and again["gpu_hours"] == measured["gpu_hours"]


def _documents(text):
    """The JSON documents that stand in a text one after the other."""
    while text := text.strip():
        document, end = json.JSONDecoder().raw_decode(text)
        yield document
        text = text[end:]
