"""The contract of every policy, tested in worlds with faults of all kinds."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_worlds import World, drive, records, state

from search.messages import Finished, Job, Stop
from search.policies.contract import replay
from search.policies.registry import BASELINES, SCHEDULERS

POLICIES = sorted(SCHEDULERS | BASELINES)
FAIR = sorted(set(POLICIES) - {"ray-asha", "median", "wilcoxon"})
BUDGETED = sorted(set(POLICIES) - {"random"})
few = settings(max_examples=12)
seeds = st.integers(0, 10**6)


def build(name, entrants, folds, **more):
    return (SCHEDULERS | BASELINES)[name](entrants, folds, **more)


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seed=seeds)
def test_it_ends_with_a_winner_and_never_assigns_a_job_twice_at_once(name, seed):
    world = World(seed)
    policy = build(name, world.entrants, world.folds)
    drive(policy, world, chaos=seed)
    answer = policy.answer()
    assert answer.winner in answer.peers
    if name != "ray-asha":
        assert policy.score_table.complete(answer.winner)


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seed=seeds)
def test_it_ends_despite_lost_workers_and_nan_scores(name, seed):
    world = World(seed, broken=0.05)
    policy = build(name, world.entrants, world.folds)
    log = drive(policy, world, chaos=seed, losses=0.2)
    reports = [each for each in log if isinstance(each, tuple)]
    for report, verdict in reports:
        if math.isnan(report.score):
            assert "not a number" in verdict.reason
    failed = set(policy.score_table.failed)
    assert policy.answer().winner not in failed
    healthy = {entrant.config for entrant in policy.score_table.alive()}
    assert (policy.answer().winner is None) == (not healthy)


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seed=seeds, early=st.floats(0.1, 1), losses=st.sampled_from([0.0, 0.2]))
def test_no_job_is_assigned_again_for_a_fold_trial_that_ended_early(name, seed, early, losses):
    world = World(seed, broken=0.02, early=early)
    policy = build(name, world.entrants, world.folds)
    drive(policy, world, chaos=seed, losses=losses)  # which asserts that each job has something to train
    healthy = list(policy.score_table.alive())
    assert (policy.answer().winner is None) == (not healthy)
    for config in policy.score_table.entrants:
        policy.why(config)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=4)
@given(seed=seeds)
def test_lower_scores_of_a_metric_to_minimize_lead_to_the_same_jobs_and_the_same_answer(name, seed):
    logs, answers = [], []
    for mirrored in (False, True):
        world = World(seed, broken=0.05, mirrored=mirrored)
        policy = build(name, world.entrants, world.folds)
        policy.score_table.minimize = mirrored
        logs.append([job for job in drive(policy, world, chaos=seed) if isinstance(job, Job)])
        answers.append(policy.answer())
    assert logs[0] == logs[1] and answers[0] == answers[1]


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seed=seeds)
def test_no_job_of_a_failed_config_is_assigned(name, seed):
    world = World(seed, broken=0.2)
    policy = build(name, world.entrants, world.folds)
    failed = set()
    for each in drive(policy, world, chaos=seed):
        if isinstance(each, Job):
            assert each.config not in failed
        elif math.isnan(each[0].score):
            failed.add(each[0].config)


@pytest.mark.parametrize("name", BUDGETED)
@few
@given(seed=seeds, budget=st.floats(0, 60))
def test_it_ends_when_the_budget_is_spent(name, seed, budget):
    world = World(seed)
    policy = build(name, world.entrants, world.folds, budget=budget)
    drive(policy, world, chaos=seed)
    longest = max(entrant.horizon for entrant in world.entrants) * 2.5
    assert policy.score_table.spent <= budget + world.workers * longest
    if policy.score_table.exhausted:
        assert "budget spent" in policy.next().reason


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seed=seeds, share=st.floats(0, 1), early=st.sampled_from([0.0, 0.4]))
def test_replaying_the_journal_gives_the_same_verdicts_and_the_same_state(name, seed, share, early):
    world = World(seed, broken=0.02, early=early)
    log = drive(build(name, world.entrants, world.folds), world, chaos=seed)
    log = log[: round(share * len(log))]
    replayed = build(name, world.entrants, world.folds)
    for each in log:
        if isinstance(each, Job):
            replayed.score_table.outstanding[each.config, each.fold] = each
        else:
            assert replayed.report(each[0]) == each[1]
    assert state(replayed) == state(replay(build(name, world.entrants, world.folds), records(log)))


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seed=seeds, share=st.floats(0, 1), early=st.sampled_from([0.0, 0.4]))
def test_the_state_does_not_depend_on_the_order_or_repetition_of_reports(name, seed, share, early):
    world = World(seed, broken=0.02, early=early)
    log = drive(build(name, world.entrants, world.folds), world, chaos=seed)
    reports = [each[0] for each in log[: round(share * len(log))] if isinstance(each, tuple)]
    shuffled = random.Random(seed).sample(reports * 2, 2 * len(reports))
    ordered = replay(build(name, world.entrants, world.folds), reports)
    repeated = replay(build(name, world.entrants, world.folds), shuffled)
    assert state(ordered) == state(repeated)
    assert ordered.score_table.spent == repeated.score_table.spent


@pytest.mark.parametrize("name", FAIR)
@few
@given(seed=seeds)
def test_configs_are_not_compared_across_folds_or_steps(name, seed):
    """Adding the same amount to the scores of all configs at one step of one fold changes no decision."""
    plain = World(seed)
    rng = random.Random(seed)
    shift = {(fold, step): rng.randint(-64, 64) / 1024 for fold in range(plain.folds) for step in range(1, 41)}
    if len({entrant.steps for entrant in plain.entrants}) > 1:
        for fold in range(plain.folds):  # different horizons are compared at full length only
            shift[fold, 8] = shift[fold, 4] = rng.randint(-64, 64) / 1024
    shifted = World(seed, shift=shift)
    first = drive(build(name, plain.entrants, plain.folds), plain, chaos=seed)
    second = drive(build(name, plain.entrants, plain.folds), shifted, chaos=seed)
    assert [each for each in first if isinstance(each, Job)] == [each for each in second if isinstance(each, Job)]


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"random"}))
@few
@given(seed=seeds)
def test_configs_can_be_added_late(name, seed):
    world = World(seed)
    policy = build(name, world.entrants[:1], world.folds)
    drive(policy, world, chaos=seed)
    for entrant in world.entrants:
        policy.add(entrant)
    late = train_rest(policy, world, seed)
    assert {job.config for job in late} >= {entrant.config for entrant in world.entrants[1:]}


def train_rest(policy, world, seed):
    known = {cell: max(policy.score_table.curve(*cell)) for cell in policy.score_table._curves}
    jobs = []
    while isinstance(job := policy.next(), Job):
        jobs.append(job)
        steps = policy.score_table.entrants[job.config].steps
        for step in [step for step in steps if known.get((job.config, job.fold), 0) < step <= job.until]:
            known[job.config, job.fold] = step
            if isinstance(policy.report(world.report(job.config, job.fold, step)), Stop):
                break
    return jobs


@pytest.mark.parametrize("name", POLICIES)
def test_without_configs_there_are_no_jobs_and_no_winner(name):
    policy = build(name, [], 2)
    assert isinstance(policy.next(), Finished) and policy.answer().winner is None
