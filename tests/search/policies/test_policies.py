"""The decisions of the policies, with their arithmetic in comments."""

import pytest

from search.messages import Answer, Continue, Entrant, Finished, Job, Report, Stop, Wait
from search.policies.asha import Asha
from search.policies.foldrace import FoldRace
from search.policies.grid import Grid
from search.policies.halving import Halving
from trainable.errors import UserError

STEPS = tuple(range(10, 101, 10))


def entrants(count, steps=STEPS, **parameters):
    return [Entrant(f"c{i:02d}", steps, parameters) for i in range(count)]


def train(policy, job, score, report_from=0):
    """Train a job to its end or until it is stopped, with a constant score; returns the last verdict."""
    verdict = Continue()
    for step in policy.score_table.entrants[job.config].steps:
        if report_from < step <= job.until and isinstance(verdict, Continue):
            verdict = policy.report(Report(job.config, job.fold, step, score, step / 10))
    return verdict


def run(policy, score, limit=10_000):
    """Run with one worker to the end; returns every job with its verdict."""
    finished = []
    for _ in range(limit):
        job = policy.next()
        if not isinstance(job, Job):
            assert isinstance(job, Finished)
            return finished
        curve = policy.score_table.curve(job.config, job.fold)
        finished.append((job, train(policy, job, score(job.config, job.fold), max(curve, default=0))))
    raise AssertionError("the policy does not end")


def by_number(config, fold):
    """c00 is the best, each following config 0.001 worse; folds differ by more than that."""
    return 0.9 - 0.001 * int(config[1:]) + (0.03, -0.02, 0.0, 0.01, -0.01)[fold]


def test_grid_trains_everything_fold_by_fold():
    jobs = [job for job, _ in run(Grid(entrants(3), 2), by_number)]
    assert [(job.config, job.fold) for job in jobs] == [
        ("c00", 0), ("c01", 0), ("c02", 0), ("c00", 1), ("c01", 1), ("c02", 1),
    ]  # fmt: skip


def test_halving_trains_72_24_8_4_4():
    # ceil(72 / 3) = 24, ceil(72 / 9) = 8, ceil(72 / 18) = 4; the last stays: 72 + 24 + 8 + 4 + 4 = 112
    policy = Halving(entrants(72), 5)
    jobs = [job for job, _ in run(policy, by_number)]
    assert [sum(job.fold == fold for job in jobs) for fold in range(5)] == [72, 24, 8, 4, 4]
    assert policy.answer().winner == "c00"
    assert policy.why("c71") == "paused: outside the top 24 on fold 0"
    assert policy.why("c04") == "paused: outside the top 4 on folds 0-2" and policy.why("c03") is None


def test_halving_continues_with_the_best_means():
    jobs = [job for job, _ in run(Halving(entrants(9), 2), by_number)]
    assert [job.config for job in jobs if job.fold == 1] == ["c00", "c01", "c02"]


def test_asha_halves_at_every_rung():
    # the worst reports come first; step 30 is the first report at or after 25 % of 100
    policy = Asha(entrants(16), 3)
    jobs = [policy.next() for _ in range(16)]
    assert {job.until for job in jobs} == {30}
    verdicts = [train(policy, job, by_number(job.config, 0)) for job in reversed(jobs)]
    assert "rank 1 of" not in verdicts[0].reason
    # 16 / 2 = 8 are promoted
    promoted = {policy.next().config for _ in range(8)}
    assert promoted == {f"c{i:02d}" for i in range(8)}
    assert policy.next() == Wait()


def test_asha_gives_the_rank_of_a_paused_config():
    policy = Asha(entrants(4), 1)
    jobs = [policy.next() for _ in range(4)]
    *_, last = [train(policy, job, by_number(job.config, 0)) for job in jobs]
    assert last == Stop("paused: rank 4 of 4 at step 30 of fold 0, outside the top 2")


def test_asha_ranks_configs_of_equal_horizons_only():
    short = [Entrant(f"s{i}", (5, 10, 15, 20), {}) for i in range(2)]
    policy = Asha([*short, *entrants(2)], 1, rungs=(0.5,))
    for job in [policy.next() for _ in range(4)]:
        # configs with the long horizon are far better at their rung
        level = 0.1 if job.config.startswith("s") else 0.9
        train(policy, job, level - 0.01 * int(job.config[1:]))
    promoted = {policy.next().config, policy.next().config}
    assert promoted == {"c00", "s0"}  # 2 / 2 = 1 of each block


def screened(policy, count, score=by_number):
    for _ in range(count):
        job = policy.next()
        assert (job.fold, job.until) == (0, 50)
        assert train(policy, job, score(job.config, 0)).reason.startswith("paused: step 50 of fold 0")


def test_foldrace_screens_all_configs_at_half_before_any_continues():
    policy = FoldRace(entrants(72), 5)
    screened(policy, 72)
    assert policy.next() == Job("c00", 0, 70)  # 62.5 % of 100 is between the reports at 60 and 70


def test_foldrace_keeps_60_50_42_and_35_of_72_at_its_rungs():
    # ceil(0.83 * 72) = ceil(59.8) = 60, ceil(0.83 * 60) = 50, ceil(41.5) = 42, ceil(34.9) = 35
    policy = FoldRace(entrants(72), 5)
    jobs = [job for job, _ in run(policy, by_number) if job.fold == 0]
    assert [sum(job.until == step for job in jobs) for step in (50, 70, 80, 90, 100)] == [72, 60, 50, 42, 35]
    assert policy.why("c60") == "paused: rank 61 at step 50 of fold 0, outside the top 60"
    assert policy.why("c35") == "paused: rank 36 at step 90 of fold 0, outside the top 35"


def test_foldrace_keeps_a_share_of_every_level_of_the_stratifying_parameter():
    # all 10 low configs are better than the 10 high ones; ceil(0.6 * 10) = 6 of each are kept, not 12 low ones
    known = [Entrant(f"c{i:02d}", STEPS, {"augmentation": "low" if i < 10 else "high"}) for i in range(20)]
    policy = FoldRace(known, 5, rungs=(0.5,), keep=0.6, delta=0.0, stratify="augmentation")
    screened(policy, 20)
    kept = [config for config in policy.score_table.entrants if policy.why(config) is None]
    assert kept == [f"c{i:02d}" for i in (*range(6), *range(10, 16))]


def test_foldrace_pauses_as_many_with_strata_of_few_configs_and_keeps_the_best_of_each():
    known = [Entrant(f"c{i:02d}", STEPS, {"recipe": "abcd"[i % 4]}) for i in range(16)]
    policy = FoldRace(known, 5, stratify="recipe")
    jobs = [job for job, _ in run(policy, by_number) if job.fold == 0]
    started = {step: [job.config for job in jobs if job.until == step] for step in (50, 70, 80, 90, 100)}
    # ceil(0.83 * 16) = 14, ceil(11.6) = 12, ceil(9.96) = 10, ceil(8.3) = 9; of equal strata the better ones keep more
    assert [len(configs) for configs in started.values()] == [16, 14, 12, 10, 9]
    assert set(started[70]) == {f"c{i:02d}" for i in range(14)}
    assert {number % 4 for number in (int(config[1:]) for config in started[100])} == {0, 1, 2, 3}


def test_foldrace_never_pauses_the_best_config_of_a_stratum_at_a_rung():
    known = [Entrant(f"c{i:02d}", STEPS, {"recipe": f"r{i}"}) for i in range(6)]
    policy = FoldRace(known, 5, stratify="recipe")
    jobs = [job for job, _ in run(policy, by_number) if job.fold == 0]
    assert sum(job.until == 100 for job in jobs) == 6


def test_foldrace_finds_the_best_for_a_fraction_of_the_cost_and_gives_reasons_for_pauses():
    policy = FoldRace(entrants(72), 5)
    finished = run(policy, by_number)
    assert policy.score_table.spent < 0.3 * 72 * 5 * 10  # a fold trial takes 10 seconds here
    assert policy.answer().winner == "c00"
    assert all(verdict.reason for _, verdict in finished)
    reason = policy.why("c20")
    assert (
        reason.startswith("paused: expected 0.01")
        and "behind the leader on fold 0, chance to win on these folds 0.0 %" in reason
    )


def test_foldrace_pauses_later_folds_at_the_rung_only():
    policy = FoldRace(entrants(20), 5, keep=1.0)
    for job, verdict in run(policy, lambda config, fold: by_number(config, fold) + 0.004 * hash_sign(config, fold)):
        if job.fold and not verdict.reason.startswith("complete"):
            assert "chance to win" in verdict.reason
            assert max(policy.score_table.curve(job.config, job.fold)) in (50, 100)


@pytest.mark.parametrize(("scale", "offset"), [(0.01, 5.0), (1000.0, -3e4)])
def test_foldrace_decides_the_same_about_scores_on_any_scale(scale, offset):
    def score(config, fold):
        noise = (int(config[1:]) * 7919 + fold * 104729) % 101 / 101
        return by_number(config, fold) + 0.02 * noise - 0.5 * (config == "c07")

    plain, scaled = FoldRace(entrants(24), 5), FoldRace(entrants(24), 5)
    jobs = [job for job, _ in run(plain, score)]
    assert [job for job, _ in run(scaled, lambda config, fold: offset + scale * score(config, fold))] == jobs
    assert plain.answer() == scaled.answer() and plain.ranking() == scaled.ranking()


def test_foldrace_trains_a_second_fold_of_the_best_three_and_all_folds_of_the_best_two():
    # no two configs differ by chance, so that none but c00 can win
    policy = FoldRace(entrants(20), 5)
    jobs = [job for job, _ in run(policy, lambda config, fold: by_number(config, fold) + 0.02 * (config == "c00"))]
    assert {"c00", "c01", "c02"} <= {job.config for job in jobs if job.fold == 1} <= {"c00", "c01", "c02", "c03"}
    assert {job.config for job in jobs if job.fold == 4} == {"c00", "c01"}


def hash_sign(config, fold):
    return 1 if (int(config[1:]) * 7 + fold * 3) % 5 > 2 else -1


def test_foldrace_resumes_a_paused_config_when_the_leader_falls():
    policy = FoldRace(entrants(12), 5, keep=1.0)
    fallen = False

    def score(config, fold):
        return by_number(config, fold) + 0.02 * (config == "c00") - (0.12 if config == "c00" and fold == 1 else 0.0)

    screened(policy, 12, score)
    paused_before, trained_after = None, set()
    for _ in range(500):
        job = policy.next()
        if not isinstance(job, Job):
            break
        if paused_before is None and job.fold == 1:
            paused_before = {c for c in policy.score_table.entrants if policy.why(c) is not None}
        if paused_before is not None and fallen:
            trained_after.add(job.config)
        if job.config == "c00" and job.fold == 1:
            fallen = True
        train(policy, job, score(job.config, job.fold), max(policy.score_table.curve(job.config, job.fold), default=0))
    assert paused_before & trained_after
    assert policy.answer().winner == "c01"


def test_foldrace_lets_idle_workers_train_the_next_folds_of_the_best():
    policy = FoldRace(entrants(3), 5, rungs=())
    for job in [policy.next() for _ in range(3)]:
        train(policy, job, 0.9 if job.config == "c00" else 0.5 - 0.1 * int(job.config[1:]))
    # the first three are safe on their second fold; the others are further folds of the best two
    jobs = [policy.next() for _ in range(9)]
    assert [(job.config, job.fold) for job in jobs[:3]] == [("c00", 1), ("c01", 1), ("c02", 1)]
    assert {(job.config, job.fold) for job in jobs[3:]} == {(c, fold) for c in ("c00", "c01") for fold in (2, 3, 4)}
    assert policy.next() == Wait()


def test_foldrace_does_not_compare_a_rung_with_full_lengths_of_another_horizon():
    # short configs are complete when long ones are at their rung, far below but better at the end
    short = [Entrant(f"s{i:02d}", (10, 20), {}) for i in range(4)]
    long = entrants(4)
    policy = FoldRace([*short, *long], 2, keep=1.0)

    def curve(job, step):
        if job.config.startswith("s"):
            return 0.80 + 0.001 * int(job.config[1:])
        return 0.4 + 0.005 * step + 0.001 * int(job.config[1:])  # 0.65 at the rung, 0.9 at the end

    for _ in range(200):
        job = policy.next()
        if not isinstance(job, Job):
            break
        last_step = max(policy.score_table.curve(job.config, job.fold), default=0)
        for step in policy.score_table.entrants[job.config].steps:
            if last_step < step <= job.until and isinstance(
                policy.report(Report(job.config, job.fold, step, curve(job, step), step)), Stop
            ):
                break
    assert policy.answer().winner == "c03"


def test_a_spent_budget_ends_the_run_with_a_reason():
    policy = FoldRace(entrants(10), 5, budget=12.0)
    first, second = policy.next(), policy.next()
    assert isinstance(train(policy, first, 0.8), Stop)  # 5 GPU-seconds
    policy.report(Report(second.config, 0, 10, 0.8, 7.0))  # 5 + 7 = 12
    assert policy.report(Report(second.config, 0, 20, 0.8, 8.0)).reason == "budget spent: 13 of 12 GPU-seconds"
    assert policy.next() == Finished("budget spent: 13 of 12 GPU-seconds")
    assert policy.answer() == Answer(None, ())


def test_the_first_of_two_reports_of_a_step_counts():
    policy = Grid(entrants(1), 1)
    policy.report(Report("c00", 0, 10, 0.8, 1.0))
    policy.report(Report("c00", 0, 10, 0.7, 1.0))
    assert policy.score_table.score("c00", 0, 10) == 0.8


def test_a_lost_job_is_assigned_again():
    policy = FoldRace(entrants(2), 2)
    job = policy.next()
    policy.lost(job)
    assert policy.next() == job


def test_a_repeated_rung_report_does_not_stop_a_resumed_trial():
    policy = FoldRace(entrants(2), 2)
    screened(policy, 2)
    job = policy.next()
    assert job == Job("c00", 0, 70)
    assert policy.report(Report("c00", 0, 50, by_number("c00", 0), 5.0)) == Continue()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rungs": (0.5, 0.25)}, r"rungs = \[0.5, 0.25\]: must rise"),
        ({"rungs": (1.0,)}, "each above 0 and below 1"),
        ({"keep": 0.0}, "keep = 0.0: must be above 0"),
        ({"delta": 0.7}, "delta = 0.7: must be 0 or more"),
        ({"budget": -1.0}, "budget = -1.0"),
    ],
)
def test_a_setting_out_of_range_is_reported(settings, message):
    with pytest.raises(UserError, match=message):
        FoldRace(entrants(2), 5, **settings)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (Report("nobody", 0, 10, 0.5, 1.0), "no such config"),
        (Report("c00", 5, 10, 0.5, 1.0), "fold 5 is not 0 to 4"),
        (Report("c00", 0, 11, 0.5, 1.0), "step 11 is none of its report steps"),
    ],
)
def test_a_report_of_an_unknown_config_fold_or_step_is_refused(report, message):
    with pytest.raises(UserError, match=message):
        Grid(entrants(1), 5).report(report)
