"""A large race is evaluated periodically; it meets the contract of policies, and a replay leads to the same state."""

import math
import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_worlds import World, drive, records, state

from search.commands.launch import _already_over
from search.messages import Entrant, Finished, Job, Report, Stop
from search.policies import foldrace
from search.policies.contract import replay
from search.policies.foldrace import FoldRace
from search.race.race_state import compute_race
from search.runs.journal import Journal, read_journal
from search.runs.study import Study, verdicts

few = settings(max_examples=25, suppress_health_check=list(HealthCheck))
worlds = st.builds(World, st.integers(0, 10**6), broken=st.sampled_from([0.0, 0.03]), early=st.sampled_from([0.0, 0.4]))
THIRD = 0.34


@pytest.fixture
def large(monkeypatch):
    """Every race counts as large: it is evaluated after reports on a third of its configs."""
    monkeypatch.setattr(foldrace, "EXACT", 0)
    monkeypatch.setattr(foldrace, "SHARE", THIRD)


def large_world(seed, count):
    """A world of this many configs, some of which differ clearly."""
    world = World(seed)
    rng = random.Random(seed)
    world.worth = {f"c{i:03d}": rng.gauss(0, 0.02) for i in range(count)}
    world.entrants = [Entrant(config, (1, 2, 3, 4), {}) for config in world.worth]
    world.folds, world.workers = 4, rng.randint(1, 8)
    plain = world.report
    world.report = lambda config, *cell: replace(
        plain(config, *cell), score=world.worth[config] + plain(config, *cell).score
    )
    return world


def race(world, **more):
    return FoldRace(world.entrants, world.folds, **more)


def count_evaluations(monkeypatch):
    """A list that gets an entry for every evaluation of the race."""
    count = []
    monkeypatch.setattr(foldrace, "compute_race", lambda *all_: (count.append(1), compute_race(*all_))[1])
    return count


@few
@given(world=worlds, rungs=st.sampled_from([(), (0.5,), (0.25, 0.5)]), losses=st.sampled_from([0.0, 0.2]))
def test_it_ends_when_every_config_that_may_win_is_complete(large, world, rungs, losses):
    policy = race(world, rungs=rungs)
    log = drive(policy, world, chaos=world.seed, losses=losses)
    with pytest.MonkeyPatch.context() as exact:
        exact.setattr(foldrace, "EXACT", math.inf)
        exact_race = replay(race(world, rungs=rungs), [each for each in records(log) if not isinstance(each, Job)])
        assert isinstance(exact_race.next(), Finished)
        assert exact_race.answer() == policy.answer()


class RecordingRace(FoldRace):
    """Records the events that a journal contains."""

    def __init__(self, *args):
        super().__init__(*args)
        self.log = []

    def next(self):
        decision = super().next()
        self.log += [decision] if isinstance(decision, Job) else []
        return decision

    def report(self, report):
        verdict = super().report(report)
        self.log.append((report, verdict))
        return verdict

    def lost(self, job):
        self.log.append(("lost", job))
        super().lost(job)


@few
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1), losses=st.sampled_from([0.0, 0.2]))
def test_replaying_the_records_gives_the_same_verdicts_and_the_same_state(large, seed, share, losses):
    """Reports are either judged again, or only noted as in a resumed run."""
    world = large_world(seed, 25)
    live = RecordingRace(world.entrants, world.folds)
    drive(live, world, chaos=seed, losses=losses)
    judged, noted = race(world), race(world)
    for record in live.log[: round(share * len(live.log))]:
        if isinstance(record, Job):
            judged.score_table.outstanding[record.config, record.fold] = record
            noted.score_table.outstanding[record.config, record.fold] = record
        elif record[0] == "lost":
            judged.lost(record[1])
            noted.lost(record[1])
        else:
            assert judged.report(record[0]) == record[1]
            noted.note(record[0])
            if isinstance(record[1], Stop):
                noted.release_job(record[0].config, record[0].fold)
    assert [judged.why(config) for config in world.worth] == [noted.why(config) for config in world.worth]
    assert state(judged) == state(noted)


def test_a_launch_that_looks_whether_jobs_remain_changes_nothing_that_the_journal_lacks(large, tmp_path):
    world = large_world(3, 43)
    world.workers = 6
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = Study(FoldRace([], world.folds), journal)
        study.begin()
        for entrant in world.entrants:
            study.add(entrant)
        assert _already_over(study, SimpleNamespace(lost=list)) is None
        drive(study, world, chaos=3)
        assert _already_over(study, SimpleNamespace(lost=list)).reason == "every job is done"
    assert verdicts(FoldRace([], world.folds), read_journal(tmp_path / "journal.jsonl")) == []


@few
@given(world=worlds, share=st.floats(0, 1))
def test_a_repeated_report_changes_nothing(large, world, share):
    log = drive(race(world), world, chaos=world.seed)
    reports = [each[0] for each in log[: round(share * len(log))] if isinstance(each, tuple)]
    rng = random.Random(world.seed)
    repeated = [old for k, report in enumerate(reports) for old in (report, rng.choice(reports[: k + 1]))]
    assert state(replay(race(world), reports)) == state(replay(race(world), repeated))


def test_the_race_is_evaluated_at_every_report_up_to_the_limit_and_less_often_beyond(monkeypatch):
    world = large_world(3, 60)
    world.workers = 8
    count = count_evaluations(monkeypatch)
    monkeypatch.setattr(foldrace, "EXACT", 60)
    exact = drive(race(world), world, chaos=1)
    at_every_report = len(count)
    monkeypatch.setattr(foldrace, "EXACT", 61)
    assert drive(race(world), world, chaos=1) == exact
    count.clear()
    monkeypatch.setattr(foldrace, "EXACT", 10)
    monkeypatch.setattr(foldrace, "SHARE", 0.2)  # of the 50 additional configs: after more than 10 reports
    drive(race(world), world, chaos=1)
    assert len(count) < at_every_report / 3


def test_a_late_config_is_screened_before_the_next_evaluation(large):
    world = World(5)
    policy = race(world)
    drive(policy, world, chaos=5)
    late = Entrant("late", world.entrants[0].steps, {})
    policy.add(late)
    assert policy.next() == Job("late", 0, late.step_at(0.5))
    assert policy.why("late") is None


def test_idle_workers_trigger_an_evaluation(large, monkeypatch):
    """The last reports of a stage decide which configs continue, but are fewer than the share."""
    monkeypatch.setattr(foldrace, "SHARE", math.inf)
    world = World(11)
    policy = race(world)
    drive(policy, world, chaos=11)
    assert policy.score_table.complete(policy.answer().winner)


@pytest.mark.parametrize("exact", [0, 1000], ids=["large", "small"])
def test_idle_workers_of_a_large_race_train_several_folds_at_once_of_configs_that_will_need_them(monkeypatch, exact):
    monkeypatch.setattr(foldrace, "EXACT", exact)
    world = large_world(3, 60)
    policy = race(world, rungs=())
    for config in world.worth:
        policy.report(world.report(config, 0, 4))
    counts = Counter()
    while isinstance(job := policy.next(), Job):
        counts[job.config] += 1
    ranked = [config for config in policy.ranking() if config in counts]
    quarter = len(ranked) // 4
    assert quarter >= 3 and [counts[config] for config in ranked[:2]] == [3, 3], "all folds of the best two"
    assert {counts[config] for config in ranked[2:quarter]} == ({1} if exact else {2})
    assert {counts[config] for config in ranked[quarter:]} == {1}


@pytest.mark.parametrize(("exact", "first"), [(0, "slow"), (1000, "best")], ids=["large", "small"])
def test_in_a_large_race_the_slowest_config_continues_from_a_rung_first(monkeypatch, exact, first):
    monkeypatch.setattr(foldrace, "EXACT", exact)
    world = World(3)
    world.entrants = [Entrant(config, (1, 2, 3, 4), {}) for config in ("slow", "best", "last")]
    policy = race(world, rungs=(0.5, 0.75), keep=0.6)
    for config, score, seconds in (("best", 0.9, 20.0), ("slow", 0.8, 30.0), ("last", 0.1, 40.0)):
        policy.report(Report(config, 0, 2, score, seconds))
    assert policy.next() == Job(first, 0, 3)
