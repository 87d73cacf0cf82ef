"""The ledger accounts for every second that a worker was busy, despite faults, stops and crashes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from search.runs.journal import Line
from search.runs.ledger import ledger
from search.terminal.ledger_table import document, summary, table

STEPS = (1, 2, 3, 4)


class Driver:
    """Writes the records of a driver, with a clock controlled by the test."""

    def __init__(self):
        self.lines, self.clock = [], 1000.0
        self.write("begin")

    def write(self, kind, **fields):
        self.lines.append(Line(len(self.lines) + 1, kind, fields, round(self.clock, 3)))

    def wait(self, seconds):
        self.clock += seconds
        return self

    def job(self, config="a", fold=0, until=4):
        if not any(line.kind == "config" and line.fields["config"] == config for line in self.lines):
            self.write("config", config=config, steps=list(STEPS), parameters={})
        self.write("job", config=config, fold=fold, until=until)

    def report(self, step, seconds, config="a", fold=0, score=0.5, **stop):
        self.write("report", config=config, fold=fold, step=step, score=score, seconds=seconds, **stop)


def seconds(result, config="a", fold=0):
    account = result.accounts[config, fold]
    other = ("state", "jobs", "faults", "pretraining")
    return {name: value / 1e6 for name, value in vars(account).items() if name not in other}


def test_reported_training_time_is_kept_and_the_rest_is_overhead():
    driver = Driver()
    driver.wait(1).job()
    driver.wait(13).report(1, 10.0)  # 3 s until training started
    driver.wait(11).report(4, 20.0, stop="complete")  # 1 s for the driver and the checkpoint
    result = ledger(driver.lines)
    assert seconds(result) == {"kept": 20, "under_way": 0, "lost": 0, "overhead": 4, "unseen": 0}
    assert result.accounts["a", 0].state == "done" and (result.workers, result.wall) == (1, 25_000_000)


def test_training_since_the_last_report_and_its_repetition_are_lost_with_a_worker():
    driver = Driver()
    driver.job()
    driver.wait(12).report(1, 10.0)  # 2 s overhead
    driver.wait(7)
    driver.write("fault", config="a", fold=0, fault="the worker died")
    driver.wait(25).report(
        2, 20.0, stop="paused"
    )  # 32 s for 10 s of training: 7 before the fault, 15 to restart and catch up
    result = ledger(driver.lines)
    assert seconds(result) == {"kept": 20, "under_way": 0, "lost": 22, "overhead": 2, "unseen": 0}
    assert result.accounts["a", 0].state == "paused" and result.accounts["a", 0].faults == 1


def test_a_failed_fold_loses_its_unreported_training():
    driver = Driver()
    driver.job()
    driver.wait(12).report(1, 10.0)
    driver.wait(5)
    driver.write("fault", config="a", fold=0, fault="nan")
    driver.report(4, 10.0, score=float("nan"), stop="failed")
    result = ledger(driver.lines)
    assert seconds(result) == {"kept": 10, "under_way": 0, "lost": 5, "overhead": 2, "unseen": 0}
    assert result.totals()["failed"] == 10_000_000


def test_an_interrupted_job_counts_until_the_last_record_of_its_driver_and_states_the_unknown_time():
    driver = Driver()
    driver.job()
    driver.job("b")
    driver.wait(10).report(1, 10.0)
    driver.wait(5).report(1, 12.0, "b")  # the last record of the driver, which died at 15 s or later
    driver.wait(100).write("begin")
    driver.job()
    driver.wait(8).report(2, 16.0, stop="paused")  # 5 s before the crash and 8 s now, for 6 s of training
    result = ledger(driver.lines)
    assert seconds(result) == {"kept": 16, "under_way": 0, "lost": 7, "overhead": 0, "unseen": 0}
    assert seconds(result, "b") == {"kept": 12, "under_way": 0, "lost": 0, "overhead": 3, "unseen": 0}
    assert table(result)[1:3] == [
        {"config": "share", "paused": "73.7%", "lost": "18.4%", "overhead": "7.9%"},  # 28 + 7 + 3 = 38 s
        {"config": "a", "paused": "16.00", "lost": "7.000", "overhead": "0", "busy": "23.00"},
    ]
    assert (result.cut, result.unknown, result.wall) == (2, 200_000_000, 23_000_000)
    assert "2 jobs ended with the driver" in summary(result) and "at most 200 s are missing" in summary(result)


def test_training_after_the_crash_of_the_driver_is_unseen():
    driver = Driver()
    driver.job()
    driver.wait(10).report(1, 10.0)
    driver.wait(60).write("begin")
    driver.job()
    driver.wait(2).report(3, 50.0, stop="paused")  # its checkpoint is at 50 s
    result = ledger(driver.lines)
    assert seconds(result) == {"kept": 50, "under_way": 0, "lost": 0, "overhead": 0, "unseen": 38}


def test_training_that_is_not_reported_yet_is_under_way():
    driver = Driver()
    driver.job()
    driver.wait(11).report(1, 10.0)
    result = ledger(driver.lines, now=driver.clock + 6)
    assert seconds(result) == {"kept": 10, "under_way": 6, "lost": 0, "overhead": 1, "unseen": 0}
    assert result.accounts["a", 0].state == "running" and result.wall == 17_000_000
    assert seconds(ledger(driver.lines))["under_way"] == 0, "the run has no driver"


def test_a_late_record_is_compensated_by_the_next():
    driver = Driver()
    driver.job()
    driver.wait(10.5).report(1, 10.0)  # written 0.5 s late
    driver.wait(9.6).report(2, 20.0, stop="paused")
    assert seconds(ledger(driver.lines)) == {"kept": 20, "under_way": 0, "lost": 0, "overhead": 0.1, "unseen": 0}


def test_a_journal_rebuilt_from_the_fold_folders_contains_only_kept_time():
    driver = Driver()
    driver.write("config", config="a", steps=list(STEPS), parameters={})
    driver.report(1, 10.0)
    driver.report(4, 40.0)
    result = ledger(driver.lines)
    assert seconds(result) == {"kept": 40, "under_way": 0, "lost": 0, "overhead": 0, "unseen": 40}


def test_a_run_without_training_has_an_empty_ledger():
    for lines in ([], Driver().lines):
        result = ledger(lines)
        assert result.busy == 0 and document(result)["trials"] == []
        assert table(result) == [{"config": "all", "busy": "0"}, {"config": "share"}]


events = st.lists(
    st.tuples(st.sampled_from([*["train"] * 3, "fault", "stop", "die"]), st.integers(0, 3), st.integers(0, 9000)),
    max_size=60,
)


@settings(max_examples=300)
@given(events, st.booleans())
def test_the_parts_add_up_to_the_busy_time_of_the_workers(history, driven):
    """Four fold trials on at most two workers, with faults, stops and crashes of the driver."""
    driver, busy = Driver(), 0
    running: dict[int, float] = {}  # fold: the start of the unreported training
    stopwatch, steps = [0.0] * 4, [0] * 4
    for kind, fold, milliseconds in history:
        driver.wait(milliseconds / 1000)
        busy += milliseconds * len(running)
        if kind == "die":
            driver.write("config", config="another", steps=[1], parameters={})
            running.clear()
            driver.wait(5).write("begin")
        elif fold not in running:
            if len(running) < 2:
                driver.job(fold=fold)
                running[fold] = driver.clock
        elif kind == "train":
            stopwatch[fold] += 0.9 * (driver.clock - running[fold])
            running[fold] = driver.clock
            steps[fold] += 1
            driver.report(steps[fold], stopwatch[fold], fold=fold)
        elif kind == "fault":
            driver.write("fault", config="a", fold=fold, fault="crash")
        else:
            driver.write("lost", config="a", fold=fold, fault="given back")
            del running[fold]
    result = ledger(driver.lines, now=driver.clock if driven else None)
    seen = result.busy - result.unseen
    if driven or not running:
        assert abs(seen / 1000 - busy) <= len(history), "the time of each record is rounded to milliseconds"
    assert seen <= result.workers * result.wall and result.workers <= 2
    assert (
        sum(result.totals().values()) == result.busy == sum(sum(each.values()) for each in result.of_configs().values())
    )
    assert all(spent >= 0 for account in result.accounts.values() for spent in account.parts().values())
    assert abs(sum(account.kept for account in result.accounts.values()) / 1e6 - sum(stopwatch)) < 1e-3
