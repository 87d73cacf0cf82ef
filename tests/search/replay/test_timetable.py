"""When jobs run, what they take together, and where a budget cuts them off."""

from hypothesis import given, settings
from hypothesis import strategies as st

from search.policies.foldrace import FoldRace
from search.replay.generated_worlds import Recipe, make_world
from search.replay.recorded_study import study_from_table
from search.replay.simulation import simulate
from search.replay.timetable import JobInterval, Limits, Usage, schedule_in_order, usage

LENGTHS = st.lists(st.floats(0.1, 50), min_size=1, max_size=30)


def test_jobs_take_the_slot_that_is_free_first():
    # 5 and 10 side by side, then 5 on the first slot until 10, then 10 until 20: 30 s in 20 s
    assert schedule_in_order([5, 10, 5, 10], 2) == [
        JobInterval(0, 5, True),
        JobInterval(0, 10, True),
        JobInterval(5, 10, True),
        JobInterval(10, 20, True),
    ]
    assert usage(schedule_in_order([5, 10, 5, 10], 2), Limits()) == Usage(30.0, 20.0, 4)


def test_each_budget_cuts_at_its_own_moment():
    intervals = schedule_in_order([5, 10, 5, 10], 2)
    # both slots are busy until 10, where 20 s are spent; the last job alone spends the rest
    assert usage(intervals, Limits(gpu_seconds=14)) == Usage(14.0, 7.0, 3, "gpu_hours")
    assert usage(intervals, Limits(gpu_seconds=22)) == Usage(22.0, 12.0, 4, "gpu_hours")
    assert usage(intervals, Limits(wall=4)) == Usage(8.0, 4.0, 2, "wall")
    assert usage(intervals, Limits(trials=3)) == Usage(20.0, 10.0, 3, "trials")
    assert usage(intervals, Limits(gpu_seconds=14, wall=4, trials=3)) == Usage(8.0, 4.0, 2, "wall")
    assert usage(intervals, Limits(gpu_seconds=30, wall=20, trials=4)) == Usage(30.0, 20.0, 4), "enough ends nothing"


def test_once_the_trials_are_spent_no_fold_trial_is_gone_on_with():
    again = [JobInterval(0, 5, True), JobInterval(5, 10, True), JobInterval(10, 15, False)]
    assert usage(again, Limits(trials=2)) == Usage(10.0, 10.0, 2, "trials")


@given(LENGTHS, st.integers(1, 8), st.floats(0.1, 500), st.floats(0.1, 500), st.integers(1, 30))
@settings(derandomize=True)
def test_no_limit_is_passed_and_none_adds_anything(lengths, slots, gpu_seconds, wall, trials):
    intervals = schedule_in_order(lengths, slots)
    free, cut = usage(intervals, Limits()), usage(intervals, Limits(gpu_seconds, wall, trials))
    assert abs(free.gpu_seconds - sum(lengths)) < 1e-6 and free.wall <= sum(lengths) + 1e-6
    assert cut.gpu_seconds <= min(gpu_seconds, wall * slots, free.gpu_seconds) + 1e-6
    assert cut.wall <= min(wall, free.wall) + 1e-6 and cut.trials <= min(trials, len(lengths))
    assert (cut.ended_by is None) == (cut == free)


def test_the_stretches_of_a_simulation_add_up_to_what_it_spent():
    study = study_from_table(make_world(Recipe(folds=3, evaluations=10), seed=5))
    spent = simulate(FoldRace(study.entrants, study.folds), study.curves, workers=4)
    took = usage(spent.intervals, Limits())
    assert abs(took.gpu_seconds - spent.seconds) < 1e-6 and took.wall == spent.wall
    assert took.trials < len(spent.intervals), "some fold trials are paused and gone on with"
