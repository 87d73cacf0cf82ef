"""What a run tells Prometheus of itself is what stands on its board, at every moment and in bounded numbers."""

import math

import pytest

from search.engine import monitor
from search.engine.monitor import DONE, FAILED, PAUSED, RUNNING, Monitor
from search.messages import Entrant, Job, Report
from search.policies.registry import SCHEDULERS
from search.race.score_table import ScoreTable

FACTS = {"config": "c0", "fold": 0}


class Sink:
    def __init__(self):
        self.values, self.faults = {}, []

    def set(self, name, value, **labels):
        self.values[name, *labels.values()] = value

    def count_fault(self, **labels):
        self.faults.append(labels)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def score_table(configs=2, folds=2):
    empty = ScoreTable(folds)
    for k in range(configs):
        empty.add(Entrant(f"c{k}", (2, 4)))
    return empty


def readings(of):
    sink = Sink()
    Monitor(of, sink).pulse()
    return sink.values


def test_seconds_on_a_share_of_a_gpu_are_told_as_that_share():
    of = score_table()
    of.record(Report("c0", 0, 2, 0.5, 3.0, gpus=0.5))
    of.record(Report("c0", 0, 4, 0.6, 5.0))
    told = readings(of)
    assert told["gpu_seconds", "c0", "0"] == told["run_gpu_seconds",] == told["run_gpu_seconds_by", "done"] == 3.5


def test_each_state_is_read_off_the_board():
    of = score_table(configs=4)
    of.out["c0", 0] = Job("c0", 0, 4)
    of.record(Report("c1", 0, 2, 0.5, 3.0))
    of.record(Report("c2", 0, 2, 0.6, 3.0))
    of.record(Report("c2", 0, 4, 0.7, 7.0))
    of.record(Report("c3", 0, 2, 0.4, 1.0))
    of.record(Report("c3", 0, 4, math.nan, 1.0))
    told = readings(of)
    states = {key[1]: value for key, value in told.items() if key[0] == "state"}
    assert states == {"c0": RUNNING, "c1": PAUSED, "c2": DONE, "c3": FAILED}
    assert told["score", "c2", "0"] == 0.7 and told["step", "c2", "0"] == 4 and told["gpu_seconds", "c2", "0"] == 7.0
    assert told["score", "c3", "0"] == 0.4 and told["step", "c3", "0"] == 2, "the last that was a number"
    assert ("score", "c0", "0") not in told and told["step", "c0", "0"] == 0
    assert {state: told["run_folds", state] for state in monitor.STATES.values()} == dict.fromkeys(
        monitor.STATES.values(), 1
    )
    # c0 has told nothing yet; c1 3 s, c2 7 s, c3 1 s.
    spent = {outcome: told["run_gpu_seconds_by", outcome] for outcome in monitor.STATES.values()}
    assert spent == {"running": 0.0, "paused": 3.0, "done": 7.0, "failed": 1.0}
    assert sum(spent.values()) == told["run_gpu_seconds",]


def test_a_run_tells_its_sums_and_its_best_mean_of_all_folds():
    of = score_table()
    of.out["c0", 0] = Job("c0", 0, 4)
    assert ("run_best_mean",) not in readings(of), "no config has all its folds yet"
    for config, fold, score in (("c0", 0, 0.9), ("c1", 0, 0.5), ("c1", 1, 0.7)):
        of.record(Report(config, fold, 4, score, 10.0))
    told = readings(of)
    # c0 has 0.9, but on one fold only; c1 has (0.5 + 0.7) / 2 = 0.6 on both.
    assert told["run_best_mean",] == pytest.approx(0.6)
    assert told["run_configs",] == 2 and told["run_jobs_out",] == 1 and told["run_gpu_seconds",] == 30.0


def test_a_job_that_is_given_back_runs_no_longer():
    policy = SCHEDULERS["grid"]([Entrant("c0", (4,))], 2)
    job, sink, clock = policy.next(), Sink(), Clock()
    watching = Monitor(policy.score_table, sink, clock)
    watching("job", FACTS)
    watching.pulse()
    assert sink.values["state", "c0", "0"] == RUNNING
    policy.lost(job)
    clock.now += monitor.SECONDS
    watching.pulse()
    assert sink.values["state", "c0", "0"] == PAUSED and sink.values["run_jobs_out",] == 0


def test_metrics_are_set_again_every_few_seconds_and_not_more_often():
    sink, clock = Sink(), Clock()
    watching = Monitor(score_table(), sink, clock)
    watching.pulse()
    sink.values.clear()
    clock.now += monitor.SECONDS - 0.1
    watching.pulse()
    assert not sink.values
    clock.now += 0.1
    watching.pulse()
    assert sink.values["run_configs",] == 2


def test_a_reading_that_takes_long_is_followed_by_a_rest_fifty_times_as_long():
    sink, clock = Sink(), Clock()

    class Slow(Sink):
        def set(self, name, value, **labels):
            sink.set(name, value, **labels)
            clock.now += 1.0 if name == "run_configs" else 0.0

    watching = Monitor(score_table(), Slow(), clock)
    watching.pulse()  # from 0 to 1
    sink.values.clear()
    clock.now = 49.9
    watching.pulse()
    assert not sink.values
    clock.now = 50.0
    watching.pulse()
    assert sink.values


def test_faults_are_counted_by_fold():
    sink = Sink()
    watching = Monitor(score_table(), sink)
    for event in ("job", "fault", "report", "fault", "failed", "lost"):
        watching(event, FACTS)
    assert sink.faults == [{"config": "c0", "fold": "0"}] * 3


def test_no_more_fold_trials_are_told_of_than_the_exporter_can_hold(monkeypatch):
    monkeypatch.setattr(monitor, "MOST", 10)
    of = score_table(configs=20, folds=5)
    for k in range(2):
        for fold in range(5):
            of.record(Report(f"c{k}", fold, 4, 0.5, 1.0))
    sink = Sink()
    watching = Monitor(of, sink)
    for k in range(2, 20):
        watching("fault", {"config": f"c{k}", "fold": 0})
        of.record(Report(f"c{k}", 0, 4, 0.5, 1.0))
    watching.pulse()
    told = [key[1:] for key in sink.values if key[0] == "state"]
    # Half of 10 are left to an earlier launch, so there is room for 5 of this one; the sums know all 10 + 18.
    assert len(told) == 10 and ("c1", "4") in told and ("c6", "0") in told and ("c7", "0") not in told
    assert len(sink.faults) == 5 and sink.values["run_folds", "done"] == 28
