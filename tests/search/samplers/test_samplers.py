"""Samplers in runs without Ray: when they propose, which scores they get, and resuming after a crash."""

import math
import random
import statistics

import pytest
from driver_death import Killed
from sampled_run import QUALITY, SAMPLERS, Run, peak, space, tpe

from search.messages import Finished, Job, Report
from search.policies.registry import policy_of
from search.runs.journal import Journal, read_journal
from search.runs.study import verdicts
from search.samplers.config_outcome import estimated_scores
from search.samplers.growing_study import GrowingStudy
from trainable.errors import UserError


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_finds_better_configs_than_random_search(tmp_path, name):
    parameters = {"quality": {"min": 0.5, "max": 0.9}, "noise": {"min": 0.0, "max": 1.0}, "steps": 4, "evaluations": 4}
    later, count = {}, 16 if name == "gp" else 24
    for sampler in (name, "random"):
        (tmp_path / sampler).mkdir()
        demo = space(parameters, {"name": sampler, "count": count, "seed": 0})
        run = Run(tmp_path / sampler, demo, workers=1, shown=False)
        run.drive()
        assert len(run.configs()) == count
        later[sampler] = statistics.median(peak(values) for values in run.configs()[12:])
    assert later[name] > later["random"] + 0.01


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_meet_conditions_and_forbid_and_are_distinct(tmp_path, name):
    parameters = {
        "loss": {"values": ["iou", "dice"]},
        "pc": {"values": [1, 2]},
        "quality": {"min": 1, "max": 3, "distribution": "int"},
        "noise": {"min": 0.1, "max": 0.2, "when": {"loss": "dice"}},
        "steps": 4,
        "evaluations": 4,
    }
    forbid = [{"loss": "iou", "pc": 2}]
    run = Run(tmp_path, space(parameters, {"name": name, "count": 13}, forbid=forbid), lambda values: 0.1, workers=1)
    run.drive()
    proposed = run.configs()
    assert len({str(values) for values in proposed}) == len(proposed) == 13
    assert all(("noise" in values) == (values["loss"] == "dice") for values in proposed)
    assert not any(values["loss"] == "iou" and values["pc"] == 2 for values in proposed)
    assert {tuple(sorted(trial.params.items())) for trial in run.loaded().trials} == {
        tuple(sorted(values.items())) for values in proposed
    }


@pytest.mark.parametrize("name", ["tpe", "gp", "random"])
def test_a_finite_space_is_exhausted_and_the_run_ends(tmp_path, name):
    parameters = {"loss": {"values": ["iou", "dice"]}, "quality": {"values": [0.6, 0.7, 0.8]}, "steps": 4}
    run = Run(tmp_path, space(parameters, {"name": name, "count": 50}, forbid=[{"loss": "dice", "quality": 0.6}]))
    assert run.drive() == "every job is done, and the space has no configs other than these 5"
    assert len(run.configs()) == 5


def test_a_sampler_that_repeats_itself_ends_the_run_with_a_reason(tmp_path):
    demo = space(sampler=tpe(3))
    point = demo.sample(random.Random(0))

    class Repeating:
        count, ignores_scores = 3, False

        def propose(self, policy):
            return point

    policy, admitted = policy_of(demo), []
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = GrowingStudy(policy, journal, Repeating(), admitted.append)
        while isinstance(job := study.next(), Job):
            for step in range(1, job.until + 1):
                study.report(Report(job.config, job.fold, step, 0.5, 1.0))
    assert job == Finished("every job is done, and the sampler proposed only known configs, 100 times in a row")
    assert admitted == [point]


def test_a_config_is_requested_when_a_worker_can_start_it_and_after_all_earlier_scores(tmp_path):
    run = Run(tmp_path, space(sampler=tpe(12)), shown=False)
    run.drive()
    waiting, most = set(), 0
    lines = read_journal(tmp_path / "journal.jsonl")
    for k, line in enumerate(lines):
        if line.kind == "config":
            waiting.add(line.fields["config"])
            assert lines[k + 1].kind == "job" and lines[k + 1].fields["config"] == line.fields["config"]
        elif line.kind == "report" and "stop" in line.fields:
            waiting.discard(line.fields["config"])
        most = max(most, len(waiting))
    assert most == 2, "two workers, two configs that have not been screened"
    first = max(k for k, line in enumerate(lines) if line.kind == "config")
    assert not any(line.kind == "job" and line.fields["fold"] > 0 for line in lines[:first])


@pytest.mark.parametrize("scheduler", ["grid", "asha", "foldrace"])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_without_a_count_configs_are_added_until_the_budget_is_spent_and_some_complete(tmp_path, sampler, scheduler):
    run = Run(tmp_path, space(sampler=sampler, scheduler=scheduler, budget={"gpu_hours": 0.1}), shown=False)
    assert "budget spent" in run.drive()
    score_table = run.policy.score_table
    assert len(score_table.entrants) > 8 and run.policy.answer().winner is not None
    assert sum(score_table.complete(config) for config in score_table.entrants) >= 3


def test_halving_requires_a_count():
    with pytest.raises(UserError, match=r"sampler\.count: is required: halving promotes fractions of all configs"):
        space(scheduler="halving", budget={"trials": 9})
    assert space(scheduler="halving", sampler=tpe(4)).settings.sampler.count == 4


def test_the_estimate_of_a_paused_config_corrects_for_its_folds_and_a_failed_one_is_the_worst(tmp_path):
    def score(values):
        return math.nan if values["quality"] < 0.55 else values["quality"]

    run = Run(tmp_path, space(sampler=tpe(16)), score, shown=False)
    run.drive()
    score_table, estimates = run.policy.score_table, estimated_scores(run.policy)
    assert estimates.keys() == score_table.entrants.keys()
    depth = {config: len(score_table.scores(config)) for config in estimates}
    assert set(depth.values()) >= {0, 3}, "some paused at the rung of fold 0, some complete"
    for config in estimates.keys() - score_table.failed:
        truth = score_table.entrants[config].parameters["quality"] + 0.02 - 0.3 / 4
        assert estimates[config] == pytest.approx(truth, abs=0.02), "on any folds and rungs"
    assert score_table.failed and all(estimates[config] == min(estimates.values()) for config in score_table.failed)


@pytest.mark.parametrize("name", [*SAMPLERS, "random"])
@pytest.mark.parametrize("kills", [(6,), (2, 13, 1, 5), (31, 7)], ids=str)
def test_a_killed_run_gets_the_same_proposals_as_an_uninterrupted_one(tmp_path_factory, name, kills):
    demo = space(sampler={"name": name, "count": 13}, parameters=QUALITY | {"noise": {"min": 0.0, "max": 1.0}})
    uninterrupted, interrupted = (
        Run(tmp_path_factory.mktemp(name), demo, workers=1, shown=name == "cmaes") for _ in range(2)
    )
    uninterrupted.drive()
    for records in kills:
        with pytest.raises(Killed):
            interrupted.drive(records)
    interrupted.drive()
    assert interrupted.configs() == uninterrupted.configs()
    assert interrupted.policy.answer() == uninterrupted.policy.answer()
    assert verdicts(policy_of(demo), read_journal(interrupted.folder / "journal.jsonl")) == []
