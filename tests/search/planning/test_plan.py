"""The plan: the arithmetic of the grid, the expected usage, and the output."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from planned_space import GRID, STATED, space
from typer.testing import CliRunner

from search.__main__ import app
from search.planning.plan import PlanOptions, make_plan, plan_launch, planned
from search.planning.plan_output import PLAN, document, keep_first, lines, show_first, too_long
from search.policies.registry import SCHEDULERS
from search.runs.disk import check_room
from search.runs.study import entrant_of
from search.samplers.proposals import RandomProposals
from trainable.errors import UserError
from trainable.preflight.step_times import StepTime


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def many(learning_rates, **settings):
    """A space of 4 configs per learning rate, under the fold race by default."""
    values = [round(1e-4 * (1 + number), 7) for number in range(learning_rates)]
    return space(parameters={"learning_rate": {"values": values}}, **{"scheduler": "foldrace", **settings})


def test_the_grid_is_the_sum_of_its_fold_trials():
    # Per fold 10 s at batch 8 and 5 s at batch 4 for each of two losses, so 2 x 30 = 60 s; the cost is 36 per 3,600 s.
    plan = make_plan(space(), STATED)
    assert (plan.configs, plan.trials, plan.steps) == (4, 8, 800)
    # In the order 5 10 5 10 5 10 5 10 on two slots the jobs end at 5 10 10 20 15 25 25 35.
    assert (plan.grid.gpu_seconds, plan.grid.wall) == pytest.approx((60, 35))
    figures = document(plan)
    assert figures["gpu_hours"]["grid"] == pytest.approx(60 / 3600) and figures["cost"]["grid"] == pytest.approx(0.6)


def test_the_expected_usage_of_a_grid_is_the_grid():
    plan = make_plan(space(), STATED)
    assert plan.expected == (plan.grid,) and document(plan)["worlds"] is None


@pytest.mark.parametrize("scheduler", ["foldrace", "asha", "halving"])
def test_a_scheduler_that_prunes_is_expected_to_cost_less(scheduler):
    plan = make_plan(many(4, scheduler=scheduler), STATED)
    hours = document(plan)["gpu_hours"]
    assert hours["low"] <= hours["expected"] <= hours["high"] < hours["grid"]
    assert all(usage.ended_by is None for usage in plan.expected)


def test_the_settings_of_the_scheduler_change_the_expected_usage():
    # Fold 0 of all 16 configs, then 8 of them on fold 1, in any world.
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


def test_a_sample_of_a_thousand_configs_is_rehearsed_and_scaled_up():
    plan = make_plan(many(250, scheduler={"name": "halving", "quotas": [100]}), STATED)
    assert (plan.configs, plan.sampled) == (1000, 400)
    # The sample of 400 trains fold 1 of ceil(100 x 0.4) = 40 configs, which represent 100.
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
def test_a_budget_caps_the_expected_usage_and_is_listed(budget, limit):
    for scheduler in ("foldrace", "grid"):
        plan = make_plan(many(4, scheduler=scheduler, budget=budget), STATED)
        assert all(limit(usage) for usage in plan.expected)
        assert set(plan.ended_by()) == set(budget) and "ends the run" in dict(lines(plan))["budget"]
        assert plan.grid == make_plan(many(4, scheduler="grid", budget={}), STATED).grid
    ample = make_plan(many(1, budget={"gpu_hours": 100}), STATED)
    assert not ample.ended_by() and dict(lines(ample))["budget"] == "enough (100 CPU-hours)"


def test_an_open_ended_space_is_planned_by_its_budget():
    endless = space(sampler="random", budget={"gpu_hours": 0.1, "wall": 600, "cost_per_gpu_hour": 10})
    plan = make_plan(endless, STATED)
    result = document(plan)
    assert (result["configs"], result["trials"], result["steps"], result["gpu_hours"]["grid"]) == (None,) * 4
    # 360 GPU-seconds are spent before 600 s on two slots; a config takes 2 folds of 7.5 s on average, so 24 configs.
    assert result["gpu_hours"]["expected"] == pytest.approx(0.1) and result["ended_by"] == {"gpu_hours": 1}
    assert plan.affordable == pytest.approx(24)
    assert "the budget is enough for 24 configs" in dict(lines(plan))["full grid"]


def test_a_sampler_is_planned_with_randomly_drawn_configs():
    drawn = space(sampler={"name": "tpe", "count": 3, "seed": 1}, scheduler="foldrace")
    assert len(planned(drawn)) == make_plan(drawn, STATED).configs == 3
    assert "randomly drawn configs" in dict(lines(make_plan(drawn, STATED)))["sampler"]


def test_the_table_is_a_few_lines():
    plan = make_plan(many(2, budget={"gpu_hours": 0.01, "cost_per_gpu_hour": 36.0}, scheduler="grid"), STATED)
    largest = next(point.id for point in planned(many(2)) if point.config.batch_size == 8)
    assert [f"{label:<12}{text}" for label, text in lines(plan)] == [
        "plan        hand: 8 configs x 2 folds = 16 fold trials, 1,600 steps",
        "full grid   0.03333 CPU-hours, cost 1.20, 1 min on 2 slots",
        "expected    0.01 CPU-hours, cost 0.36, 18 s on 2 slots, 30 % of the grid",
        "scheduler   grid",
        f"a step      stated: 100 ms for the largest config, {largest} (batch 8 at 64x64, efficientnet-b2 unet), "
        "evaluations included; others by batch x pixels",
        "budget      the limit of 0.01 CPU-hours ends the run; the run can be resumed with a larger budget",
        "disk        at most 1.44 GB while it runs, of which every config with all folds keeps 80 MB (keep: race)",
    ]


def test_the_plan_says_what_a_run_takes_on_disk_and_no_run_starts_without_that_room(tmp_path, monkeypatch):
    # 40 MB of weights in each of 16 fold trials; 2 that are training have 3 checkpoints of 5 copies.
    weights = 40e6
    grid, race = (make_plan(many(2, scheduler=name), STATED) for name in ("grid", "foldrace"))
    assert document(grid)["disk"]["most"] == weights * (16 + 2 * 15)
    # At most all 8 configs are paused at once, each with 5 copies.
    trials = race.mean(lambda usage: usage.trials)
    assert document(race)["disk"]["most"] == pytest.approx(weights * (trials - 8 + 8 * 5 + 2 * 15))
    assert document(grid)["disk"]["config"] == 2 * weights
    # 50 learning rates give 200 configs, which may all be paused; 4 configs are all that there are without a count.
    for rates, configs in ((50, 160), (1, 4)):
        endless = make_plan(many(rates, sampler="random", budget={"trials": 160}), STATED)
        assert document(endless)["disk"]["most"] == weights * (160 - configs + configs * 5 + 2 * 15)
    room = document(grid)["disk"]["most"]
    checkpoint = tmp_path / "run/configs/a/fold_0/last.pt"
    for free, there, fits in ((room, 0, True), (room - 10, 0, False), (room - 10, 10, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_bytes(b"x" * there)
        if fits:
            check_room(tmp_path / "run", document(grid))
        else:
            with pytest.raises(UserError, match=r"may need 1\.84 GB more disk space and 1\.84 GB are free"):
                check_room(tmp_path / "run", document(grid))
    check_room(tmp_path / "run", {})  # a plan of an earlier version


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "hand.yaml"
    path.write_text(json.dumps(GRID))
    return str(path)


def test_the_command_prints_json_csv_and_a_table(written):
    def run(*options):
        done = CliRunner().invoke(app, ["plan", written, "--step-seconds", "0.1", "--slots", "2", *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    result = json.loads(run("--format", "json", "--set", "folds=3"))
    assert {"configs", "folds", "trials", "steps", "gpu_hours", "cost"} <= set(result)
    assert {"grid", "expected"} <= set(result["gpu_hours"]) & set(result["cost"])
    assert (result["folds"], result["trials"], result["slots"]) == (3, 12, 2)
    assert result["step_seconds"]["source"] == "stated" and result["step_seconds"]["description"]
    assert json.loads(run("--format", "json", "--set", "budget.cost_per_gpu_hour=null"))["cost"] is None
    header, *rows = run("--format", "csv").splitlines()
    assert header == "figure,grid,expected,low,high"
    assert [row.split(",")[0] for row in rows] == ["trials", "gpu_hours", "wall_hours", "cost"]
    assert run().startswith("plan        hand: 4 configs")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step-seconds", "-1"], "--step-seconds -1: must be more than 0"),
        (["--step-seconds", "nan"], "--step-seconds nan: must be more than 0"),
        (["--step-seconds", "1", "--calibrate"], "use one of them"),
        (["--slots", "0"], "--slots 0: must be at least 1"),
        (["--set", "folds=1"], "folds"),
        (["--set", "sampler=random"], "sampler.count: is required"),
        (["--set", "trainable=scripted", "--calibrate"], "nothing to measure"),
        (["--set", "parameters.encoder=no_such_net", "--calibrate"], "no_such_net"),
    ],
)
@pytest.mark.usefixtures("forking")
def test_a_mistake_is_one_error(written, options, message):
    done = CliRunner().invoke(app, ["plan", written, *options])
    assert isinstance(done.exception, UserError) and message in str(done.exception)


def test_a_network_too_deep_for_the_size_of_the_images_is_one_error(small_folder):
    """Images of 96x80 are trained at 96x64."""
    deep = {"architecture": "resunet", "size": "auto", "depth": {"values": [6, 7]}}
    with pytest.raises(UserError, match=r"^depth = 7: .* must be at least 128x128; here they are 96x64$"):
        make_plan(space(data=str(small_folder), parameters=deep), STATED)


def test_a_launch_keeps_the_plan_that_was_made_before_its_first_trial(tmp_path, capsys):
    keep_first(tmp_path, show_first(tmp_path, space(), STATED))
    first = (tmp_path / PLAN).read_text()
    assert json.loads(first)["trials"] == 8 and "8 fold trials" in capsys.readouterr().err
    assert show_first(tmp_path, space(folds=3), PlanOptions()) is None
    assert "from the first launch" in capsys.readouterr().err
    keep_first(tmp_path, show_first(tmp_path, space(folds=3), STATED))
    assert "12 fold trials" in capsys.readouterr().err, "with options the plan is printed again"
    assert (tmp_path / PLAN).read_text() == first


def test_a_run_that_takes_longer_than_a_day_is_named_so():
    # 25,000 and 50,000 s in turn, 8 fold trials on two slots: the second one ends after 175,000 s.
    assert too_long(make_plan(space(), replace(STATED, step_seconds=100.0))) is None
    warning = too_long(make_plan(space(), replace(STATED, step_seconds=500.0)))
    assert warning.startswith("this run is expected to take 2.03 d on this machine")
    assert too_long(make_plan(space(budget={"wall": "12h"}), replace(STATED, step_seconds=500.0))) is None
    assert too_long(make_plan(space(parameters={"steps": 10**9}), PlanOptions())) is None, "an A100 is assumed"


def test_a_launch_measures_a_few_steps_if_it_might_take_days(monkeypatch):
    measured = []

    def measure(space, configs, order, data, most):
        measured.append(order[:most])
        return "a device", {shape: StepTime(60.0, 1.0, "today") for shape in order[:most]}

    monkeypatch.setattr("search.planning.step_seconds.calibrated", measure)
    assert plan_launch(space(), PlanOptions()).estimates.source == "assumed" and not measured
    plan = plan_launch(space(parameters={"steps": 100_000}), PlanOptions())
    assert plan.estimates.source == "measured here" and [len(shapes) for shapes in measured] == [1]
    assert "is expected to take" in too_long(plan)


def test_a_plan_for_data_that_do_not_exist_recommends_no_launch(written):
    done = CliRunner().invoke(app, ["plan", written, "--step-seconds", "0.1"])
    assert isinstance(done.exception, UserError) and "data: nowhere: no such folder" in str(done.exception)
    assert "plan        hand: 4 configs" in done.stdout and "Next:" not in done.stderr


def test_more_cores_than_the_machine_has_are_refused(written):
    done = CliRunner().invoke(app, ["plan", written, "--set", "resources.cpu=9999"])
    assert isinstance(done.exception, UserError) and "resources.cpu = 9999: this machine has" in str(done.exception)


def test_a_random_run_is_planned_with_the_configs_it_will_train():
    loaded = space(sampler={"name": "random", "count": 3, "seed": 3})
    policy = SCHEDULERS["grid"]([], loaded.settings.folds)
    proposals = RandomProposals(loaded, 3, 3)
    for _ in range(3):
        policy.add(entrant_of(proposals.propose(policy)))
    assert [point.id for point in planned(loaded)] == list(policy.score_table.entrants)
