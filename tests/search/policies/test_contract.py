"""What every policy promises to whoever drives it, in worlds where everything goes wrong."""

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
few = settings(max_examples=12, deadline=None, derandomize=True)
seeds = st.integers(0, 10**6)


def build(name, entrants, folds, **more):
    return (SCHEDULERS | BASELINES)[name](entrants, folds, **more)


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seed=seeds)
def test_it_ends_with_a_winner_and_hands_every_job_out_once_at_a_time(name, seed):
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
def test_it_ends_when_workers_die_and_scores_are_not_numbers(name, seed):
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
@given(seed=seeds)
def test_no_job_of_a_failed_config_is_handed_out(name, seed):
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
def test_it_ends_when_the_budget_does(name, seed, budget):
    world = World(seed)
    policy = build(name, world.entrants, world.folds, budget=budget)
    drive(policy, world, chaos=seed)
    dearest = max(entrant.horizon for entrant in world.entrants) * 2.5
    assert policy.score_table.spent <= budget + world.workers * dearest
    if policy.score_table.exhausted:
        assert "budget spent" in policy.next().reason


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seed=seeds, share=st.floats(0, 1))
def test_replaying_the_journal_gives_the_same_verdicts_and_the_same_state(name, seed, share):
    world = World(seed, broken=0.02)
    log = drive(build(name, world.entrants, world.folds), world, chaos=seed)
    log = log[: round(share * len(log))]
    again = build(name, world.entrants, world.folds)
    for each in log:
        if isinstance(each, Job):
            again.score_table.outstanding[each.config, each.fold] = each
        else:
            assert again.report(each[0]) == each[1]
    assert state(again) == state(replay(build(name, world.entrants, world.folds), records(log)))


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seed=seeds, share=st.floats(0, 1))
def test_the_state_is_the_facts_in_any_order_and_any_number(name, seed, share):
    world = World(seed, broken=0.02)
    log = drive(build(name, world.entrants, world.folds), world, chaos=seed)
    reports = [each[0] for each in log[: round(share * len(log))] if isinstance(each, tuple)]
    shuffled = random.Random(seed).sample(reports * 2, 2 * len(reports))
    straight = replay(build(name, world.entrants, world.folds), reports)
    mixed = replay(build(name, world.entrants, world.folds), shuffled)
    assert state(straight) == state(mixed)
    assert straight.score_table.spent == mixed.score_table.spent


@pytest.mark.parametrize("name", FAIR)
@few
@given(seed=seeds)
def test_no_config_is_judged_across_folds_or_steps(name, seed):
    """Whatever all configs gain or lose together, at one step of one fold, changes no decision."""
    plain = World(seed)
    rng = random.Random(seed)
    shift = {(fold, step): rng.randint(-64, 64) / 1024 for fold in range(plain.folds) for step in range(1, 41)}
    if len({entrant.steps for entrant in plain.entrants}) > 1:
        for fold in range(plain.folds):  # full lengths of different horizons are compared, and only those
            shift[fold, 8] = shift[fold, 4] = rng.randint(-64, 64) / 1024
    shifted = World(seed, shift=shift)
    first = drive(build(name, plain.entrants, plain.folds), plain, chaos=seed)
    second = drive(build(name, plain.entrants, plain.folds), shifted, chaos=seed)
    assert [each for each in first if isinstance(each, Job)] == [each for each in second if isinstance(each, Job)]


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"random"}))
@few
@given(seed=seeds)
def test_configs_may_come_late(name, seed):
    world = World(seed)
    policy = build(name, world.entrants[:1], world.folds)
    drive(policy, world, chaos=seed)
    for entrant in world.entrants:
        policy.add(entrant)
    late = drive_on(policy, world, seed)
    assert {job.config for job in late} >= {entrant.config for entrant in world.entrants[1:]}


def drive_on(policy, world, seed):
    known = {cell: max(policy.score_table.curve(*cell)) for cell in policy.score_table._curves}
    jobs = []
    while isinstance(said := policy.next(), Job):
        jobs.append(said)
        steps = policy.score_table.entrants[said.config].steps
        for step in [step for step in steps if known.get((said.config, said.fold), 0) < step <= said.until]:
            known[said.config, said.fold] = step
            if isinstance(policy.report(world.report(said.config, said.fold, step)), Stop):
                break
    return jobs


@pytest.mark.parametrize("name", POLICIES)
def test_without_any_config_there_is_nothing_to_do_and_no_winner(name):
    policy = build(name, [], 2)
    assert isinstance(policy.next(), Finished) and policy.answer().winner is None
