"""The metrics of a run equal its score table at every update, and their number is bounded."""

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
    table = ScoreTable(folds)
    for k in range(configs):
        table.add(Entrant(f"c{k}", (2, 4)))
    return table


def readings(table):
    sink = Sink()
    Monitor(table, sink).update()
    return sink.values


def test_seconds_on_part_of_a_gpu_count_as_that_part():
    table = score_table()
    table.record(Report("c0", 0, 2, 0.5, 3.0, gpus=0.5))
    table.record(Report("c0", 0, 4, 0.6, 5.0))
    values = readings(table)
    assert values["gpu_seconds", "c0", "0"] == values["run_gpu_seconds",] == values["run_gpu_seconds_by", "done"] == 3.5


def test_each_state_is_read_from_the_score_table():
    table = score_table(configs=4)
    table.outstanding["c0", 0] = Job("c0", 0, 4)
    table.record(Report("c1", 0, 2, 0.5, 3.0))
    table.record(Report("c2", 0, 2, 0.6, 3.0))
    table.record(Report("c2", 0, 4, 0.7, 7.0))
    table.record(Report("c3", 0, 2, 0.4, 1.0))
    table.record(Report("c3", 0, 4, math.nan, 1.0))
    values = readings(table)
    states = {key[1]: value for key, value in values.items() if key[0] == "state"}
    assert states == {"c0": RUNNING, "c1": PAUSED, "c2": DONE, "c3": FAILED}
    assert (
        values["score", "c2", "0"] == 0.7 and values["step", "c2", "0"] == 4 and values["gpu_seconds", "c2", "0"] == 7.0
    )
    assert values["score", "c3", "0"] == 0.4 and values["step", "c3", "0"] == 2, "the last finite score"
    assert ("score", "c0", "0") not in values and values["step", "c0", "0"] == 0
    assert {state: values["run_folds", state] for state in monitor.STATES.values()} == dict.fromkeys(
        monitor.STATES.values(), 1
    )
    # c0 has not reported yet; c1 3 s, c2 7 s, c3 1 s.
    spent = {outcome: values["run_gpu_seconds_by", outcome] for outcome in monitor.STATES.values()}
    assert spent == {"running": 0.0, "paused": 3.0, "done": 7.0, "failed": 1.0}
    assert sum(spent.values()) == values["run_gpu_seconds",]


def test_a_run_exports_its_sums_and_the_best_mean_over_all_folds():
    table = score_table()
    table.outstanding["c0", 0] = Job("c0", 0, 4)
    assert ("run_best_mean",) not in readings(table), "no config has all its folds yet"
    for config, fold, score in (("c0", 0, 0.9), ("c1", 0, 0.5), ("c1", 1, 0.7)):
        table.record(Report(config, fold, 4, score, 10.0))
    values = readings(table)
    # c0 has 0.9, but on one fold only; c1 has (0.5 + 0.7) / 2 = 0.6 on both.
    assert values["run_best_mean",] == pytest.approx(0.6)
    assert values["run_configs",] == 2 and values["run_jobs_out",] == 1 and values["run_gpu_seconds",] == 30.0


def test_a_job_that_is_given_back_is_paused():
    policy = SCHEDULERS["grid"]([Entrant("c0", (4,))], 2)
    job, sink, clock = policy.next(), Sink(), Clock()
    run_monitor = Monitor(policy.score_table, sink, clock)
    run_monitor("job", FACTS)
    run_monitor.update()
    assert sink.values["state", "c0", "0"] == RUNNING
    policy.lost(job)
    clock.now += monitor.MIN_INTERVAL
    run_monitor.update()
    assert sink.values["state", "c0", "0"] == PAUSED and sink.values["run_jobs_out",] == 0


def test_metrics_are_updated_every_few_seconds_and_not_more_often():
    sink, clock = Sink(), Clock()
    run_monitor = Monitor(score_table(), sink, clock)
    run_monitor.update()
    sink.values.clear()
    clock.now += monitor.MIN_INTERVAL - 0.1
    run_monitor.update()
    assert not sink.values
    clock.now += 0.1
    run_monitor.update()
    assert sink.values["run_configs",] == 2


def test_the_time_between_updates_is_fifty_times_the_duration_of_one():
    sink, clock = Sink(), Clock()

    class Slow(Sink):
        def set(self, name, value, **labels):
            sink.set(name, value, **labels)
            clock.now += 1.0 if name == "run_configs" else 0.0

    run_monitor = Monitor(score_table(), Slow(), clock)
    run_monitor.update()  # from 0 to 1
    sink.values.clear()
    clock.now = 49.9
    run_monitor.update()
    assert not sink.values
    clock.now = 50.0
    run_monitor.update()
    assert sink.values


def test_faults_are_counted_by_fold():
    sink = Sink()
    run_monitor = Monitor(score_table(), sink)
    for event in ("job", "fault", "report", "fault", "failed", "lost"):
        run_monitor(event, FACTS)
    assert sink.faults == [{"config": "c0", "fold": "0"}] * 3


def test_no_more_fold_trials_are_exported_than_the_exporter_can_hold(monkeypatch):
    monkeypatch.setattr(monitor, "MAX_FOLD_TRIALS", 10)
    table = score_table(configs=20, folds=5)
    for k in range(2):
        for fold in range(5):
            table.record(Report(f"c{k}", fold, 4, 0.5, 1.0))
    sink = Sink()
    run_monitor = Monitor(table, sink)
    for k in range(2, 20):
        run_monitor("fault", {"config": f"c{k}", "fold": 0})
        table.record(Report(f"c{k}", 0, 4, 0.5, 1.0))
    run_monitor.update()
    cells = [key[1:] for key in sink.values if key[0] == "state"]
    # Half of 10 are reserved for an earlier launch, which leaves 5 for this one; the sums count all 10 + 18.
    assert len(cells) == 10 and ("c1", "4") in cells and ("c6", "0") in cells and ("c7", "0") not in cells
    assert len(sink.faults) == 5 and sink.values["run_folds", "done"] == 28
