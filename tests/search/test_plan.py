"""The plan: the arithmetic of the grid, what is expected, where the seconds of a step come from, what is printed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from search import calibration
from search.__main__ import app
from search.growing import entrant_of
from search.pace import paces
from search.plan import Asked, make_plan, planned
from search.proposals import Drawn
from search.schedulers import SCHEDULERS
from search.show_plan import PLAN, document, lines, show_first
from spaces.load import make_space
from trainable.errors import UserError
from trainable.step_times import StepTime, place_of, recall, remember, shape_of

ROOT = Path(__file__).parents[2]
GRID = {
    "name": "hand",
    "data": "nowhere",
    "folds": 2,
    "parameters": {
        "loss": {"values": ["iou", "dice"]},
        "batch_size": {"values": [4, 8]},
        "size": "64x64",
        "steps": 100,
        "evaluations": 4,
    },
    "budget": {"cost_per_gpu_hour": 36.0},
    "resources": {"gpu": 0, "cpu": 1},
}
STATED = Asked(step_seconds=0.1, slots=2)


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def space(**more):
    parameters = GRID["parameters"] | more.pop("parameters", {})
    return make_space(GRID | {"parameters": parameters} | more)


def many(learning_rates, **more):
    """A space of 4 x so many configs under the fold race."""
    values = [round(1e-4 * (1 + place), 7) for place in range(learning_rates)]
    return space(parameters={"learning_rate": {"values": values}}, **{"scheduler": "foldrace", **more})


def test_the_grid_is_what_its_sum_says():
    # per fold 10 + 5 s at batch 8 and 4 for each of two losses, 100 steps each; 2 x 30 = 60 s; 36 per 3,600 s
    plan = make_plan(space(), STATED)
    assert (plan.configs, plan.trials, plan.steps) == (4, 8, 800)
    # in the order 5 10 5 10 5 10 5 10 on two slots the jobs end at 5 10 10 20 15 25 25 35
    assert (plan.grid.gpu_seconds, plan.grid.wall) == pytest.approx((60, 35))
    told = document(plan)
    assert told["gpu_hours"]["grid"] == pytest.approx(60 / 3600) and told["cost"]["grid"] == pytest.approx(0.6)


def test_what_is_expected_of_a_grid_is_the_grid():
    plan = make_plan(space(), STATED)
    assert plan.expected == (plan.grid,) and document(plan)["worlds"] is None


@pytest.mark.parametrize("scheduler", ["foldrace", "asha", "halving"])
def test_a_scheduler_that_prunes_is_expected_to_cost_less(scheduler):
    plan = make_plan(many(4, scheduler=scheduler), STATED)
    told = document(plan)["gpu_hours"]
    assert told["low"] <= told["expected"] <= told["high"] < told["grid"]
    assert all(usage.ended_by is None for usage in plan.expected)


def test_the_settings_of_the_scheduler_decide_what_is_expected():
    # fold 0 of all 16 configs, then 8 of them on fold 1, in whatever world
    plan = make_plan(many(4, scheduler={"name": "halving", "quotas": [8]}), STATED)
    assert {usage.trials for usage in plan.expected} == {16 + 8}
    strict, loose = (
        make_plan(many(4, scheduler={"name": "foldrace", "keep": keep}), STATED).mean(lambda usage: usage.gpu_seconds)
        for keep in (0.1, 1.0)
    )
    assert strict < loose


@pytest.mark.parametrize("scheduler", ["foldrace", "asha", "halving", "grid"])
def test_one_config_and_two_folds_can_be_planned(scheduler):
    alone = space(parameters={"loss": "iou", "batch_size": 4}, scheduler=scheduler)
    plan = make_plan(alone, STATED)
    assert plan.grid.gpu_seconds == pytest.approx(20) and plan.mean(lambda usage: usage.gpu_seconds) <= 20 + 1e-9


def test_of_a_thousand_configs_a_sample_is_rehearsed_and_the_whole_is_told():
    plan = make_plan(many(250, scheduler={"name": "halving", "quotas": [100]}), STATED)
    assert (plan.configs, plan.sampled) == (1000, 400)
    # the sample of 400 trains fold 1 of ceil(100 x 0.4) = 40 configs, which stand for 100
    assert {usage.trials for usage in plan.expected} == {1000 + 100}
    assert plan.mean(lambda usage: usage.gpu_seconds) == pytest.approx(0.55 * plan.grid.gpu_seconds, rel=0.03)


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        ({"gpu_hours": 0.02}, lambda usage: usage.gpu_seconds <= 72),
        ({"wall": 30}, lambda usage: usage.wall <= 30),
        ({"trials": 5}, lambda usage: usage.trials == 5),
    ],
)
def test_a_budget_caps_what_is_expected_and_is_told(budget, limit):
    for scheduler in ("foldrace", "grid"):
        plan = make_plan(many(4, scheduler=scheduler, budget=budget), STATED)
        assert all(limit(usage) for usage in plan.expected)
        assert set(plan.ends()) == set(budget) and "end the run" in dict(lines(plan))["budget"]
        assert plan.grid == make_plan(many(4, scheduler="grid", budget={}), STATED).grid, "the full grid is told whole"
    ample = make_plan(many(1, budget={"gpu_hours": 100}), STATED)
    assert not ample.ends() and dict(lines(ample))["budget"] == "100 GPU-hours is enough"


def test_an_open_ended_space_is_planned_by_its_budget():
    endless = space(sampler="random", budget={"gpu_hours": 0.1, "wall": 600, "cost_per_gpu_hour": 10})
    plan = make_plan(endless, STATED)
    told = document(plan)
    assert (told["configs"], told["trials"], told["steps"], told["gpu_hours"]["grid"]) == (None,) * 4
    # 360 GPU-seconds come before 600 s on two slots; a config takes 2 folds of 7.5 s on average: 24 of them
    assert told["gpu_hours"]["expected"] == pytest.approx(0.1) and told["ended_by"] == {"gpu_hours": 1}
    assert plan.affordable == pytest.approx(24)
    assert "the budget pays for 24 of them" in dict(lines(plan))["full grid"]


def test_random_configs_stand_for_those_that_a_sampler_will_choose():
    drawn = space(sampler={"name": "tpe", "count": 3, "seed": 1}, scheduler="foldrace")
    assert len(planned(drawn)) == make_plan(drawn, STATED).configs == 3
    assert "drawn at random" in dict(lines(make_plan(drawn, STATED)))["sampler"]


def test_what_is_assumed_is_said_loudly_and_scales_with_batch_and_pixels():
    plan = make_plan(space(), Asked(slots=1))
    # 16 ms x (8 x 64 x 64) / (8 x 480 x 352) at batch 8, half of it at batch 4
    step = 0.016 * 64 * 64 / (480 * 352)
    paced = {point.config.batch_size: plan.paces.of[point.id] for point in planned(space())}
    assert (paced[8].step, paced[4].step) == pytest.approx((step, step / 2))
    # 228 images assumed, half of them held out: 114 / 8 batches of a third of a step
    assert paced[8].evaluation == pytest.approx(114 / 8 * step / 3)
    said = "\n".join(text for _, text in lines(plan))
    assert "ASSUMED, not measured" in said and "--calibrate" in said and "nowhere is not here" in said


def test_images_that_are_here_are_counted_and_measured(small_folder):
    here = space(data=str(small_folder), parameters={"size": "auto"})
    plan = make_plan(here, Asked(slots=1))
    # 20 images of 96x80, so 96x64; 10 are held out
    assert plan.paces.of[plan.paces.largest].step == pytest.approx(0.016 * 96 * 64 / (480 * 352))
    assert not any("not here" in text for _, text in lines(plan)) and "batch 8 at 96x64" in plan.paces.told


def test_what_was_measured_on_this_device_is_recalled_and_nothing_else(monkeypatch):
    monkeypatch.setattr(calibration, "accelerators", lambda: ["Some GPU"])
    points = planned(space())
    shapes = {point.config.batch_size: shape_of(point.config, (64, 64), "low") for point in points}
    remember(place_of("Some GPU", 2), shapes[8], StepTime(9.0, 9.0, "2026-01-01"))
    remember(place_of("Another", 1), shapes[8], StepTime(9.0, 9.0, "2026-01-01"))
    remember(place_of("Some GPU", 1), shapes[4], StepTime(9.0, 9.0, "2026-01-01"))
    assert paces(space(), points, None, False).source == "assumed", "the largest config was not measured here"
    remember(place_of("Some GPU", 1), shapes[8], StepTime(5.0, 0.5, "2026-01-01"))
    remember(place_of("Some GPU", 1), shapes[8], StepTime(0.2, 0.01, "2026-01-02"))
    known = paces(space(), points, None, False)
    assert known.source == "remembered" and "2026-01-02" in known.told
    assert {point.config.batch_size: known.of[point.id].step for point in points} == {4: 9.0, 8: 0.2}
    assert known.of[known.largest].evaluation == pytest.approx(0.01 * 228 / 2)
    larger = space(parameters={"batch_size": {"values": [4, 16]}})
    assert paces(larger, planned(larger), None, False).source == "assumed"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1, "entries": [{"of": 3, "took": {}}]}', '{"version": 9}']
)
def test_a_damaged_memory_is_as_good_as_none(tmp_path, text):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/step_times.json").write_text(text)
    shape = shape_of(planned(space())[0].config, (64, 64), "low")
    assert recall(place_of("here", 1), [shape]) == {}
    remember(place_of("here", 1), shape, StepTime(0.1, 0.1, "2026-01-01"))
    assert recall(place_of("here", 1), [shape]) == {shape: StepTime(0.1, 0.1, "2026-01-01")}


def test_a_script_says_itself_how_long_a_step_is():
    scripted = make_space(
        {
            "name": "scripted",
            "folds": 3,
            "trainable": "scripted",
            "parameters": {"quality": {"values": [0.7, 0.8]}, "steps": 10, "step_seconds": 0.5, "evaluations": 2},
        }
    )
    plan = make_plan(scripted, Asked(slots=1))
    assert plan.grid.gpu_seconds == pytest.approx(2 * 3 * 10 * 0.5) and plan.paces.source == "stated"
    instant = make_space(scripted.canonical() | {"parameters": {"quality": 0.8, "steps": 10}, "scheduler": "foldrace"})
    assert document(make_plan(instant, Asked(slots=1)))["share"] is None


def test_the_table_is_a_few_clear_lines():
    plan = make_plan(many(2, budget={"gpu_hours": 0.01, "cost_per_gpu_hour": 36.0}, scheduler="grid"), STATED)
    largest = next(point.id for point in planned(many(2)) if point.config.batch_size == 8)
    assert [f"{label:<12}{text}" for label, text in lines(plan)] == [
        "plan        hand: 8 configs x 2 folds = 16 fold trials, 1,600 steps",
        "full grid   0.0333 GPU-hours, cost 1.20, 1 min on 2 slots",
        "expected    0.01 GPU-hours, cost 0.36, 18 s on 2 slots, 30 % of the grid",
        "scheduler   grid",
        f"a step      stated: 100 ms for the largest config, {largest} (batch 8 at 64x64, efficientnet-b2), "
        "evaluations included; others by batch x pixels",
        "budget      0.01 GPU-hours end the run; it can be gone on with",
    ]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "hand.yaml"
    path.write_text(json.dumps(GRID))
    return str(path)


def test_the_command_prints_json_csv_and_a_table(written):
    def run(*words):
        done = CliRunner().invoke(app, ["plan", written, "--step-seconds", "0.1", "--slots", "2", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    told = json.loads(run("--format", "json", "--set", "folds=3"))
    assert {"configs", "folds", "trials", "steps", "gpu_hours", "cost"} <= set(told)
    assert {"grid", "expected"} <= set(told["gpu_hours"]) & set(told["cost"])
    assert (told["folds"], told["trials"], told["slots"]) == (3, 12, 2)
    assert told["step_seconds"]["source"] == "stated"
    assert json.loads(run("--format", "json", "--set", "budget.cost_per_gpu_hour=null"))["cost"] is None
    header, *rows = run("--format", "csv").splitlines()
    assert header == "figure,grid,expected,low,high"
    assert [row.split(",")[0] for row in rows] == ["trials", "gpu_hours", "wall_hours", "cost"]
    assert run().startswith("plan        hand: 4 configs")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--step-seconds", "-1"], "--step-seconds -1: must be more than 0"),
        (["--step-seconds", "nan"], "--step-seconds nan: must be more than 0"),
        (["--step-seconds", "1", "--calibrate"], "give one of them"),
        (["--slots", "0"], "--slots 0: must be at least 1"),
        (["--set", "folds=1"], "folds"),
        (["--set", "sampler=random"], "sampler.count: is required"),
        (["--set", "trainable=scripted", "--calibrate"], "nothing to measure"),
        (["--set", "parameters.encoder=no_such_net", "--calibrate"], "no_such_net"),
    ],
)
def test_a_mistake_is_told_in_one_error(written, words, message):
    done = CliRunner().invoke(app, ["plan", written, *words])
    assert isinstance(done.exception, UserError) and message in str(done.exception)


TINY = {"encoder": "test_resnet", "attention": "none", "batch_size": {"values": [2, 4]}, "loss": "iou"}


def test_a_calibration_measures_real_steps_is_remembered_and_leaves_no_torch_behind(tmp_path, small_folder):
    """On generated images of the size, then on the data; each in a process of its own."""
    program = (
        "import sys; from search.__main__ import app; app(sys.argv[1:], standalone_mode=False);"
        "sys.exit(' '.join({'torch', 'ray', 'optuna'} & set(sys.modules)) or 0)"
    )

    def plan(*words):
        done = subprocess.run(
            [sys.executable, "-c", program, "plan", str(path), "--format", "json", *words],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(GRID | {"parameters": GRID["parameters"] | TINY}))
    assert plan()["step_seconds"]["source"] == "assumed"
    measured = plan("--calibrate")
    assert measured["step_seconds"]["source"] == "measured here"
    assert measured["step_seconds"]["seconds"] > 0 and measured["step_seconds"]["evaluation"] > 0
    again = plan()
    assert again["step_seconds"]["source"] == "remembered" and again["gpu_hours"] == measured["gpu_hours"]
    entries = json.loads((tmp_path / "cache/step_times.json").read_text())["entries"]
    assert sorted(entry["of"]["batch_size"] for entry in entries) == [2, 4]
    path.write_text(json.dumps(GRID | {"data": str(small_folder), "parameters": GRID["parameters"] | TINY}))
    assert plan("--calibrate", "--set", "parameters.batch_size=4")["step_seconds"]["notes"] == []


def test_a_launch_keeps_the_plan_that_was_made_before_its_first_trial(tmp_path, capsys):
    show_first(tmp_path, space(), STATED)
    first = (tmp_path / PLAN).read_text()
    assert json.loads(first)["trials"] == 8 and "8 fold trials" in capsys.readouterr().err
    show_first(tmp_path, space(folds=3), Asked())
    assert "from the first launch" in capsys.readouterr().err
    show_first(tmp_path, space(folds=3), STATED)
    assert "12 fold trials" in capsys.readouterr().err, "asked for, it is made again, but in words only"
    assert (tmp_path / PLAN).read_text() == first


def test_a_random_run_is_planned_with_the_configs_that_it_will_have():
    loaded = space(sampler={"name": "random", "count": 3, "seed": 3})
    policy = SCHEDULERS["grid"]([], loaded.settings.folds)
    proposals = Drawn(loaded, 3, 3)
    for _ in range(3):
        policy.add(entrant_of(proposals.propose(policy)))
    assert [point.id for point in planned(loaded)] == list(policy.board.entrants)
