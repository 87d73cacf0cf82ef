"""A race of many configs is judged now and then; what holds of every race holds of it, and replaying leads to it."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_worlds import World, drive, records, state

from search.messages import Entrant, Finished, Job, Stop
from search.policies import foldrace
from search.policies.contract import replay
from search.policies.foldrace import FoldRace
from search.race.race_state import compute_race

few = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
worlds = st.builds(World, st.integers(0, 10**6), broken=st.sampled_from([0.0, 0.03]))
THIRD = 0.34


@pytest.fixture
def large(monkeypatch):
    """Any table is large: a third as many reports as there are configs come before it is judged anew."""
    monkeypatch.setattr(foldrace, "EXACT", 0)
    monkeypatch.setattr(foldrace, "SHARE", THIRD)


def many(seed, count):
    """A world of so many configs, of whom the race can tell some from the others."""
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


def judged(monkeypatch):
    """How often it is judged, counted in a list."""
    count = []
    monkeypatch.setattr(foldrace, "compute_race", lambda *all_: (count.append(1), compute_race(*all_))[1])
    return count


@few
@given(world=worlds, rungs=st.sampled_from([(), (0.5,), (0.25, 0.5)]), losses=st.sampled_from([0.0, 0.2]))
def test_it_ends_and_whoever_may_still_win_then_is_complete(large, world, rungs, losses):
    policy = race(world, rungs=rungs)
    log = drive(policy, world, chaos=world.seed, losses=losses)
    with pytest.MonkeyPatch.context() as exact:
        exact.setattr(foldrace, "EXACT", math.inf)
        judge = replay(race(world, rungs=rungs), [each for each in records(log) if not isinstance(each, Job)])
        assert isinstance(judge.next(), Finished)
        assert judge.answer() == policy.answer()


class RecordedStudy(FoldRace):
    """Remembers what was done to it: all that a journal holds."""

    def __init__(self, *given):
        super().__init__(*given)
        self.log = []

    def next(self):
        said = super().next()
        self.log += [said] if isinstance(said, Job) else []
        return said

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
    """Whether every report is judged again, or only noted as by a run that is gone on with."""
    world = many(seed, 25)
    live = RecordedStudy(world.entrants, world.folds)
    drive(live, world, chaos=seed, losses=losses)
    judging, noting = race(world), race(world)
    for record in live.log[: round(share * len(live.log))]:
        if isinstance(record, Job):
            judging.score_table.outstanding[record.config, record.fold] = record
            noting.score_table.outstanding[record.config, record.fold] = record
        elif record[0] == "lost":
            judging.lost(record[1])
            noting.lost(record[1])
        else:
            assert judging.report(record[0]) == record[1]
            noting.note(record[0])
            if isinstance(record[1], Stop):
                noting.release_job(record[0].config, record[0].fold)
    assert [judging.why(config) for config in world.worth] == [noting.why(config) for config in world.worth]
    assert state(judging) == state(noting)


@few
@given(world=worlds, share=st.floats(0, 1))
def test_a_report_that_comes_again_changes_nothing(large, world, share):
    log = drive(race(world), world, chaos=world.seed)
    reports = [each[0] for each in log[: round(share * len(log))] if isinstance(each, tuple)]
    rng = random.Random(world.seed)
    again = [old for place, report in enumerate(reports) for old in (report, rng.choice(reports[: place + 1]))]
    assert state(replay(race(world), reports)) == state(replay(race(world), again))


def test_a_report_matters_at_once_up_to_the_limit_and_a_share_of_them_together_beyond(monkeypatch):
    world = many(3, 60)
    world.workers = 8
    count = judged(monkeypatch)
    monkeypatch.setattr(foldrace, "EXACT", 60)
    exact = drive(race(world), world, chaos=1)
    often = len(count)
    monkeypatch.setattr(foldrace, "EXACT", 61)
    assert drive(race(world), world, chaos=1) == exact
    count.clear()
    monkeypatch.setattr(foldrace, "EXACT", 10)
    monkeypatch.setattr(foldrace, "SHARE", 0.2)  # of the 50 beyond: 10 reports more
    drive(race(world), world, chaos=1)
    assert len(count) < often / 3


def test_a_config_that_comes_late_is_screened_although_the_race_has_not_heard_of_it(large):
    world = World(5)
    policy = race(world)
    drive(policy, world, chaos=5)
    late = Entrant("late", world.entrants[0].steps, {})
    policy.add(late)
    assert policy.next() == Job("late", 0, late.step_at(0.5))
    assert policy.why("late") is None


def test_idle_workers_are_not_kept_waiting_for_a_judgement(large, monkeypatch):
    """The last reports of a stage are too few for a share of the configs, and decide who goes on."""
    monkeypatch.setattr(foldrace, "SHARE", math.inf)
    world = World(11)
    policy = race(world)
    drive(policy, world, chaos=11)
    assert policy.score_table.complete(policy.answer().winner)
