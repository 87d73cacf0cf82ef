"""The status of a run, updated with each line of its journal."""

import math

import demo_run
import pytest

from search.runs.cost_estimate import estimate_cost
from search.runs.journal import Line
from search.runs.status import Status, device_of, new_status
from search.terminal.listing import document, rows, summary
from spaces.load import make_space


def note(status, *records, at=100.0):
    """Note records of (kind, fields), ten seconds apart."""
    for number, (kind, fields) in enumerate(records, 1):
        status.note(Line(number, kind, fields, at + 10.0 * number))
    return status


def config(name, steps=(1, 2, 3, 4)):
    return "config", {"config": name, "steps": list(steps), "parameters": {}}


def job(name, fold, until=4):
    return "job", {"config": name, "fold": fold, "until": until}


def report(name, fold, step, score, seconds, **more):
    return "report", {"config": name, "fold": fold, "step": step, "score": score, "seconds": seconds, **more}


BEGIN = ("begin", {})


def test_a_fold_trial_runs_pauses_resumes_and_completes():
    status = note(Status(demo_run.policy("grid")), BEGIN, config("a"), job("a", 0))
    assert status.trials["a", 0].state == "running" and status.state == "running"
    note(status, report("a", 0, 1, 0.5, 10.0, stop="paused: for a reason"))
    assert (status.trials["a", 0].state, status.reason("a", 0)) == ("paused", "paused: for a reason")
    note(status, job("a", 0), report("a", 0, 4, 0.8, 40.0, stop="complete"))
    assert [status.count(state) for state in ("done", "running", "paused", "failed")] == [1, 0, 0, 0]
    assert document(status)["gpu_seconds"] == 40.0


def test_a_fold_on_part_of_a_gpu_costs_that_part_of_its_time():
    status = note(Status(demo_run.policy("grid")), BEGIN, config("a"), job("a", 0))
    note(status, report("a", 0, 1, 0.5, 10.0, gpus=0.25), report("a", 0, 2, 0.6, 20.0, gpus=1.0))
    assert document(status)["gpu_seconds"] == 2.5 + 10.0
    assert (status.trials["a", 0].seconds, status.trials["a", 0].gpu_seconds) == (20.0, 12.5)
    assert estimate_cost(status).share == 12.5 / 20.0


@pytest.mark.parametrize(("gpu", "device"), [("auto", "device"), (0, "CPU"), (0.5, "GPU")])
def test_what_a_run_trains_on_is_known_from_its_space_until_its_journal_says_it(gpu, device):
    space = make_space({"name": "a", "trainable": "scripted", "parameters": {"steps": 4}, "resources": {"gpu": gpu}})
    assert device_of(space) == new_status(space).device == device
    devices = ("devices", {"device": "CPU"})
    assert note(new_status(space), BEGIN, devices).device == "CPU"
    assert device_of(space, [Line(1, *devices, 100.0)]) == "CPU"


def test_the_reason_of_a_failed_config_is_its_fault():
    fault = ("fault", {"config": "a", "fold": 0, "fault": "crash: IndexError: 7"})
    status = note(Status(demo_run.policy("grid")), BEGIN, config("a"), job("a", 0), fault)
    note(status, report("a", 0, 4, math.nan, 1.0, stop="failed: a score is not a number"))
    assert rows(status)[0]["reason"] == "failed: crash: IndexError: 7" and status.count("failed") == 1


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_fold_that_fails_by_its_score_does_not_name_a_fault_that_it_survived(score):
    fault, stop = ("fault", {"config": "a", "fold": 0, "fault": "the worker died"}), "failed: a score is not a number"
    status = note(Status(demo_run.policy("grid")), BEGIN, config("a"), job("a", 0), fault)
    note(status, report("a", 0, 1, 0.5, 1.0))
    assert rows(status)[0]["reason"] == "the worker died"
    note(status, report("a", 0, 2, score, 2.0, stop=stop))
    assert rows(status)[0]["reason"] == stop and status.count("failed") == 1 == len(status.score_table.failed)


def test_nothing_runs_without_a_driver_and_a_new_driver_resumes():
    status = note(Status(demo_run.policy("grid")), BEGIN, config("a"), job("a", 0))
    status.set_driven(driven=False)
    assert status.state.startswith("died") and status.count("paused") == 1
    assert status.elapsed(now=10_000.0) == 20.0, "from the begin to the last record"
    note(status, BEGIN, job("a", 0), at=1000.0)
    assert status.state == "running" and status.count("running") == 1
    assert status.elapsed(now=1040.0) == 20.0 + 30.0
    note(status, ("end", {"reason": "every job is done"}), at=1100.0)
    status.set_driven(driven=False)
    assert status.state == "ended: every job is done" and status.elapsed(now=9e9) == 20.0 + 100.0


@pytest.mark.parametrize("scheduler", ["grid", "asha", "halving", "foldrace"])
def test_the_leader_is_the_best_comparable_config_and_at_the_end_the_winner(scheduler):
    lines, status = demo_run.lines(scheduler), Status(demo_run.policy(scheduler))
    seen = set()
    for line in lines:
        status.note(line)
        if line.kind == "report":
            seen.add(status.leader is not None)
            if status.leader and status.policy.answer().winner:
                assert status.leader["id"] == status.policy.answer().winner
    assert seen == {False, True}
    leader = document(status)["leader"]
    assert leader["folds"] == demo_run.FOLDS and leader["sd"] > 0


def test_spent_saved_and_remaining_time_add_up_to_the_grid():
    """Two configs, 3 folds of 4 steps. ``a`` trained 4 steps in 40 s, so its other 8 take 80 s. ``b`` has not started
    and is assumed to take as long per step: 120 s.
    """
    status = note(Status(demo_run.policy("grid")), BEGIN, config("a"), config("b"))
    assert estimate_cost(status) is None, "no step has been timed"
    note(status, job("a", 0), report("a", 0, 4, 0.8, 40.0, stop="complete"))
    now = estimate_cost(status)
    assert (now.spent, now.saved, now.least, now.most) == (40.0, 0.0, 200.0, 200.0)
    note(status, job("a", 1), report("a", 1, 2, 0.8, 60.0))  # slower: 100 s for 6 steps
    now = estimate_cost(status)
    assert now.spent == 100.0 and now.least == pytest.approx(6 * 100 / 6 + 12 * 100 / 6)


def test_the_remaining_time_of_a_paused_config_is_saved():
    """Rungs at 1 and 2 of 4 steps. Both configs reach the first rung after 10 s, where ``b``, the worse one, is paused
    with 11 of 12 steps left: 110 s are saved. ``a`` has as many left: at most 110 s, at least 1 step.
    """
    status = note(Status(demo_run.policy("asha")), BEGIN, config("a"), config("b"), job("a", 0, 1), job("b", 0, 1))
    note(status, report("a", 0, 1, 0.8, 10.0, stop="paused"), report("b", 0, 1, 0.7, 10.0, stop="paused"))
    now = estimate_cost(status)
    assert (now.spent, now.saved, now.least, now.most) == (20.0, 110.0, 10.0, 110.0)
    assert now.grid == 240.0


def test_a_budget_limits_the_remaining_time():
    status = note(Status(demo_run.policy("grid", budget=70.0)), BEGIN, config("a"), job("a", 0))
    note(status, report("a", 0, 2, 0.8, 20.0))
    assert estimate_cost(status).most == 50.0
    note(status, report("a", 0, 4, 0.8, 80.0, stop="complete"))
    assert estimate_cost(status).most == 0.0 and estimate_cost(status).saved == 0.0, "a spent budget saves nothing"


@pytest.mark.parametrize("scheduler", ["grid", "asha", "halving", "foldrace"])
def test_estimates_are_consistent_and_no_time_remains_at_the_end(scheduler):
    lines = demo_run.lines(scheduler, faults=False)
    status, estimates = Status(demo_run.policy(scheduler)), []
    for line in lines:
        status.note(line)
        if (now := estimate_cost(status)) is not None:
            assert 0 <= now.least <= now.most and now.saved >= 0
            estimates.append(now)
    everything = len(demo_run.ENTRANTS) * demo_run.FOLDS * demo_run.HORIZON * demo_run.PACE
    for now in estimates:
        assert now.grid == pytest.approx(everything), "all steps of this run take the same time"
        assert now.spent + now.least <= everything + 1e-6
    assert estimates[-1].most == 0 and estimates[-1].spent + estimates[-1].saved == pytest.approx(everything)


@pytest.mark.parametrize("scheduler", ["grid", "asha", "halving", "foldrace"])
def test_the_next_job_is_eligible(scheduler):
    lines = demo_run.lines(scheduler)
    status = Status(demo_run.policy(scheduler))
    for line in lines:
        status.note(line)
        if not status.score_table.entrants:
            continue
        eligible, chosen = list(status.policy.eligible()), status.policy.choose()
        assert len({(job.config, job.fold) for job in eligible}) == len(eligible)
        assert not {(job.config, job.fold) for job in eligible} & set(status.score_table.outstanding)
        if eligible:
            assert chosen in eligible


@pytest.mark.parametrize("scheduler", ["grid", "asha", "halving", "foldrace"])
def test_a_run_without_configs_has_a_status(scheduler):
    status = note(Status(demo_run.policy(scheduler)), BEGIN)
    assert document(status)["leader"] is None and rows(status) == [] and estimate_cost(status) is None


def test_the_summary_counts_records_without_a_checksum_if_there_are_any():
    status = note(Status(demo_run.policy()), BEGIN, config("a"))
    assert "checksum" not in summary(status) and document(status)["unchecked_records"] == 0
    status.note(Line(3, "job", job("a", 0)[1], 130.0, checked=False))
    assert "; 1 record of an older version without a checksum" in summary(status)


def test_a_record_of_an_unknown_config_is_refused_with_its_line():
    from trainable.errors import UserError

    with pytest.raises(UserError, match="journal, line 2: does not fit"):
        note(Status(demo_run.policy()), BEGIN, report("nobody", 0, 1, 0.5, 1.0))
