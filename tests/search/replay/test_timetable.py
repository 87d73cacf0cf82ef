"""Schedules of jobs on slots, their total usage, and the limits of a budget."""

from hypothesis import given
from hypothesis import strategies as st

from search.policies.foldrace import FoldRace
from search.replay.generated_worlds import Recipe, make_world
from search.replay.recorded_study import study_from_table
from search.replay.simulation import simulate
from search.replay.timetable import JobInterval, Limits, Usage, schedule_in_order, usage

LENGTHS = st.lists(st.floats(0.1, 50), min_size=1, max_size=30)


def test_jobs_take_the_first_free_slot():
    # 5 and 10 in parallel, then 5 on the first slot until 10, then 10 until 20: 30 s in 20 s.
    assert schedule_in_order([5, 10, 5, 10], 2) == [
        JobInterval(0, 5, True),
        JobInterval(0, 10, True),
        JobInterval(5, 10, True),
        JobInterval(10, 20, True),
    ]
    assert usage(schedule_in_order([5, 10, 5, 10], 2), Limits()) == Usage(30.0, 20.0, 4)


def test_each_limit_ends_the_run_at_its_own_moment():
    intervals = schedule_in_order([5, 10, 5, 10], 2)
    # Both slots are busy until 10, when 20 s are spent; the last job spends the rest alone.
    assert usage(intervals, Limits(gpu_seconds=14)) == Usage(14.0, 7.0, 3, "gpu_hours")
    assert usage(intervals, Limits(gpu_seconds=22)) == Usage(22.0, 12.0, 4, "gpu_hours")
    assert usage(intervals, Limits(wall=4)) == Usage(8.0, 4.0, 2, "wall")
    assert usage(intervals, Limits(trials=3)) == Usage(20.0, 10.0, 3, "trials")
    assert usage(intervals, Limits(gpu_seconds=14, wall=4, trials=3)) == Usage(8.0, 4.0, 2, "wall")
    # A limit that is met exactly does not end the run.
    assert usage(intervals, Limits(gpu_seconds=30, wall=20, trials=4)) == Usage(30.0, 20.0, 4)


def test_no_fold_trial_is_resumed_once_the_trials_are_spent():
    jobs = [JobInterval(0, 5, True), JobInterval(5, 10, True), JobInterval(10, 15, False)]
    assert usage(jobs, Limits(trials=2)) == Usage(10.0, 10.0, 2, "trials")


@given(LENGTHS, st.integers(1, 8), st.floats(0.1, 500), st.floats(0.1, 500), st.integers(1, 30))
def test_usage_stays_within_the_limits(lengths, slots, gpu_seconds, wall, trials):
    intervals = schedule_in_order(lengths, slots)
    full, limited = usage(intervals, Limits()), usage(intervals, Limits(gpu_seconds, wall, trials))
    assert abs(full.gpu_seconds - sum(lengths)) < 1e-6 and full.wall <= sum(lengths) + 1e-6
    assert limited.gpu_seconds <= min(gpu_seconds, wall * slots, full.gpu_seconds) + 1e-6
    assert limited.wall <= min(wall, full.wall) + 1e-6 and limited.trials <= min(trials, len(lengths))
    assert (limited.ended_by is None) == (limited == full)


def test_the_intervals_of_a_simulation_add_up_to_its_gpu_seconds():
    study = study_from_table(make_world(Recipe(folds=3, evaluations=10), seed=5))
    simulated = simulate(FoldRace(study.entrants, study.folds), study.curves, workers=4)
    total = usage(simulated.intervals, Limits())
    assert abs(total.gpu_seconds - simulated.seconds) < 1e-6 and total.wall == simulated.wall
    assert total.trials < len(simulated.intervals), "some fold trials are paused and resumed"
