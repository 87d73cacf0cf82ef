"""Workers, machines and drivers of a Ray cluster die, leave, come, hang and fill up: searches end as if nothing had.

One cluster goes through all of it; what a test takes away from it, it brings back.
"""

import shutil
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest
from aftermath import aftermath
from disturbed import LEFT, PATIENCE, SPACE, Search
from fake_cluster import FakeCluster, kill_process

from search.runs.ledger import ledger

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def machines():
    """A head and two nodes, on each of which two fold trials share a GPU."""
    cluster = FakeCluster(nodes=2)
    yield cluster
    cluster.close()


@pytest.fixture
def joined(machines):
    return {"RAY_ADDRESS": machines.address}


@pytest.fixture
def launched(tmp_path, start, machines):
    """Launch the demo with more parameters, by the program that a person uses or by another one."""
    (tmp_path / "demo.yaml").write_text(SPACE)

    def launch(*parameters, program=("-m", "search")):
        more = [word for one in parameters for word in ("--set", f"parameters.{one}")]
        return Search(tmp_path, machines, lambda: start(*program, "launch", "demo.yaml", *more))

    return launch


def test_a_worker_dies_then_every_machine_and_those_that_come_are_used(launched, machines):
    search = launched()
    kill_process(search.until(search.workers)[0])
    search.until(search.faults)
    search.until(search.workers)
    for node in machines.nodes:
        machines.kill(node)
    new = machines.add()
    search.until(lambda: search.trains_on(new))
    machines.add()
    search.ends()
    search.check()
    first, *others = search.faults()
    assert first != LEFT and others and set(others) == {LEFT}


def test_machines_that_are_to_be_taken_away_get_no_more_and_a_new_one_takes_their_place(launched, machines):
    search = launched()
    search.until(search.workers)
    leaving = machines.nodes
    for node in leaving:
        machines.announce_end(node, seconds=PATIENCE)
    search.until(lambda: not any(search.out().values()))  # what was handed out and refused waits for another machine
    assert not search.faults(), "what they had they have finished"
    new = machines.add()
    for node in leaving:
        machines.kill(node)
    search.until(lambda: search.trains_on(new))
    machines.add()
    search.ends()
    search.check()
    assert set(search.faults()) <= {LEFT}


def test_idle_workers_of_a_machine_that_is_to_be_taken_away_get_no_other_job(launched, machines):
    search = launched()
    leaving = machines.nodes[0]
    search.until(lambda: search.trains_on(leaving))
    machines.announce_end(leaving, seconds=PATIENCE)
    before = search.begun()
    there = {worker for worker in before if machines.node_of(worker) == leaving}
    search.ends()
    search.check()
    assert there and there.isdisjoint((search.begun() - before).elements()) and not search.faults()
    machines.kill(leaving)
    machines.add()


def test_the_driver_is_killed_and_the_same_command_goes_on(launched):
    search = launched()
    search.until(search.workers)
    search.process.kill()
    search.process.wait()
    before = aftermath(search.run).reports
    search.again()
    search.ends()
    search.check()
    assert aftermath(search.run).reports > before > 0


def test_the_disk_of_one_machine_is_full_and_the_same_command_goes_on_when_there_is_room(launched):
    search = launched(
        "fault={values: [disk_full], when: {quality: 0.72}}", "fault_step=3", "fault_folds={values: [[0]]}"
    )
    talk = search.ends(2)
    assert "cannot be written (No space left on device); mend it and launch again" in talk and "Traceback" not in talk
    search.again()
    search.ends()
    search.check()


def test_a_fold_trial_hangs_and_a_machine_with_a_clock_an_hour_behind_makes_no_difference(launched, machines, late):
    machines.kill(machines.nodes[0])
    behind = machines.add(LD_PRELOAD=late)
    hang = ("fault={values: [hang], when: {quality: 0.70}}", "fault_step=2", "fault_folds={values: [[0]]}")
    search = launched(*hang, program=(str(ROOT / "tests/support/impatient.py"),))
    search.until(lambda: search.trains_on(behind))
    search.ends()
    search.check()
    assert len(search.faults()) == 1
    lines = search.run.lines()
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert time.time() - PATIENCE < lines[0].at and ledger(lines).unseen == 0
    assert any(map(hour_behind, search.run.folder.glob("configs/*/fold_*/log.txt"))), "the clock was right"


def hour_behind(log):
    """Whether a log has lines by a clock that is an hour behind that of the driver, which speaks first."""
    said = [datetime.fromisoformat(line.split()[0]) for line in log.read_text().splitlines() if line.startswith("2")]
    return any((said[0] - at).total_seconds() > 3000 for at in said)


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec -= 3600;
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
"""


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    """A library that sets the clock of every program it is loaded into an hour back."""
    if shutil.which("cc") is None:
        pytest.skip("a false clock needs a C compiler")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "late.c").write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "late.so", "late.c", "-ldl"], cwd=folder, check=True)
    return str(folder / "late.so")
