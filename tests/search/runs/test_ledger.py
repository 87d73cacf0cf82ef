"""The ledger accounts for every second that a worker was busy, whatever went wrong meanwhile."""

from hypothesis import given, settings
from hypothesis import strategies as st

from search.runs.journal import Line
from search.runs.ledger import ledger
from search.terminal.ledger_table import document, summary, table

STEPS = (1, 2, 3, 4)


class Driver:
    """Writes the records that a driver writes, on a clock that the test moves."""

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


def seconds(found, config="a", fold=0):
    account = found.accounts[config, fold]
    return {name: value / 1e6 for name, value in vars(account).items() if name not in ("state", "jobs", "faults")}


def test_what_the_stopwatch_gained_is_kept_and_the_rest_is_overhead():
    driver = Driver()
    driver.wait(1).job()
    driver.wait(13).report(1, 10.0)  # 3 s until it trained
    driver.wait(11).report(4, 20.0, stop="complete")  # 1 s for the driver and the checkpoint
    found = ledger(driver.lines)
    assert seconds(found) == {"kept": 20, "under_way": 0, "lost": 0, "overhead": 4, "unseen": 0}
    assert found.accounts["a", 0].state == "done" and (found.workers, found.wall) == (1, 25_000_000)


def test_what_was_trained_since_the_last_report_and_again_is_lost_with_the_worker():
    driver = Driver()
    driver.job()
    driver.wait(12).report(1, 10.0)  # 2 s overhead
    driver.wait(7)
    driver.write("fault", config="a", fold=0, fault="the worker died")
    driver.wait(25).report(2, 20.0, stop="paused")  # 32 s for 10 s: 7 before the fault, 15 to come back and catch up
    found = ledger(driver.lines)
    assert seconds(found) == {"kept": 20, "under_way": 0, "lost": 22, "overhead": 2, "unseen": 0}
    assert found.accounts["a", 0].state == "paused" and found.accounts["a", 0].faults == 1


def test_a_fold_given_up_has_lost_what_it_never_reported():
    driver = Driver()
    driver.job()
    driver.wait(12).report(1, 10.0)
    driver.wait(5)
    driver.write("fault", config="a", fold=0, fault="nan")
    driver.report(4, 10.0, score=float("nan"), stop="failed")
    found = ledger(driver.lines)
    assert seconds(found) == {"kept": 10, "under_way": 0, "lost": 5, "overhead": 2, "unseen": 0}
    assert found.totals()["failed"] == 10_000_000


def test_a_job_cut_off_counts_until_its_drivers_last_record_and_says_what_is_not_known():
    driver = Driver()
    driver.job()
    driver.job("b")
    driver.wait(10).report(1, 10.0)
    driver.wait(5).report(1, 12.0, "b")  # the last record: the driver died at 15 s or later
    driver.wait(100).write("begin")
    driver.job()
    driver.wait(8).report(2, 16.0, stop="paused")  # 5 s before the driver died, 8 s now, for 6 s
    found = ledger(driver.lines)
    assert seconds(found) == {"kept": 16, "under_way": 0, "lost": 7, "overhead": 0, "unseen": 0}
    assert seconds(found, "b") == {"kept": 12, "under_way": 0, "lost": 0, "overhead": 3, "unseen": 0}
    assert table(found)[1:3] == [
        {"config": "share", "paused": "73.7%", "lost": "18.4%", "overhead": "7.9%"},  # 28 + 7 + 3 = 38 s
        {"config": "a", "paused": "16.0", "lost": "7.0", "overhead": "0.0", "busy": "23.0"},
    ]
    assert (found.cut, found.unknown, found.wall) == (2, 200_000_000, 23_000_000)
    assert "2 jobs ended with the driver" in summary(found) and "at most 200 s are missing" in summary(found)


def test_a_worker_that_outlived_its_driver_was_busy_while_nobody_watched():
    driver = Driver()
    driver.job()
    driver.wait(10).report(1, 10.0)
    driver.wait(60).write("begin")
    driver.job()
    driver.wait(2).report(3, 50.0, stop="paused")  # its checkpoint had come to 50 s
    found = ledger(driver.lines)
    assert seconds(found) == {"kept": 50, "under_way": 0, "lost": 0, "overhead": 0, "unseen": 38}


def test_what_a_driver_at_work_has_not_heard_of_yet_is_under_way():
    driver = Driver()
    driver.job()
    driver.wait(11).report(1, 10.0)
    found = ledger(driver.lines, now=driver.clock + 6)
    assert seconds(found) == {"kept": 10, "under_way": 6, "lost": 0, "overhead": 1, "unseen": 0}
    assert found.accounts["a", 0].state == "running" and found.wall == 17_000_000
    assert seconds(ledger(driver.lines))["under_way"] == 0, "nobody drives it any more"


def test_a_late_record_is_made_up_for_by_the_next():
    driver = Driver()
    driver.job()
    driver.wait(10.5).report(1, 10.0)  # written 0.5 s late
    driver.wait(9.6).report(2, 20.0, stop="paused")
    assert seconds(ledger(driver.lines)) == {"kept": 20, "under_way": 0, "lost": 0, "overhead": 0.1, "unseen": 0}


def test_a_journal_rebuilt_from_the_fold_folders_knows_what_was_kept_only():
    driver = Driver()
    driver.write("config", config="a", steps=list(STEPS), parameters={})
    driver.report(1, 10.0)
    driver.report(4, 40.0)
    found = ledger(driver.lines)
    assert seconds(found) == {"kept": 40, "under_way": 0, "lost": 0, "overhead": 0, "unseen": 40}


def test_a_run_that_has_trained_nothing_has_an_empty_ledger():
    for lines in ([], Driver().lines):
        found = ledger(lines)
        assert found.busy == 0 and document(found)["trials"] == []
        assert table(found) == [{"config": "all", "busy": "0.0"}, {"config": "share"}]


events = st.lists(
    st.tuples(st.sampled_from([*["train"] * 3, "fault", "stop", "die"]), st.integers(0, 3), st.integers(0, 9000)),
    max_size=60,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(events, st.booleans())
def test_the_parts_add_up_to_what_the_workers_were_busy(history, driven):
    """Four fold trials on at most two workers, through faults, stops and drivers that die."""
    driver, busy = Driver(), 0
    out: dict[int, float] = {}  # fold: since when its worker has trained
    stopwatch, steps = [0.0] * 4, [0] * 4
    for kind, fold, milliseconds in history:
        driver.wait(milliseconds / 1000)
        busy += milliseconds * len(out)
        if kind == "die":
            driver.write("config", config="another", steps=[1], parameters={})
            out.clear()
            driver.wait(5).write("begin")
        elif fold not in out:
            if len(out) < 2:
                driver.job(fold=fold)
                out[fold] = driver.clock
        elif kind == "train":
            stopwatch[fold] += 0.9 * (driver.clock - out[fold])
            out[fold] = driver.clock
            steps[fold] += 1
            driver.report(steps[fold], stopwatch[fold], fold=fold)
        elif kind == "fault":
            driver.write("fault", config="a", fold=fold, fault="crash")
        else:
            driver.write("lost", config="a", fold=fold, fault="given back")
            del out[fold]
    found = ledger(driver.lines, now=driver.clock if driven else None)
    seen = found.busy - found.unseen
    if driven or not out:
        assert abs(seen / 1000 - busy) <= len(history), "each record's clock is rounded to a millisecond"
    assert seen <= found.workers * found.wall and found.workers <= 2
    assert sum(found.totals().values()) == found.busy == sum(sum(each.values()) for each in found.of_configs().values())
    assert all(spent >= 0 for account in found.accounts.values() for spent in account.parts().values())
    assert abs(sum(account.kept for account in found.accounts.values()) / 1e6 - sum(stopwatch)) < 1e-3
