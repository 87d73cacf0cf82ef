"""The journal: what is read back, damage, locks and full disks."""

import fcntl
import itertools
import json
import multiprocessing
import os
import signal
import time

import pytest

from search.runs.journal import Journal, Tail, is_driven, read_journal
from trainable.errors import UserError


@pytest.fixture
def path(tmp_path):
    with Journal(tmp_path / "run/journal.jsonl", clock=itertools.count(1000.0).__next__) as journal:
        journal.append("begin", host="here")
        journal.append("job", config="a", fold=0, until=4)
        journal.append("report", config="a", fold=0, step=4, score=float("nan"), seconds=1.5)
    return tmp_path / "run/journal.jsonl"


def test_records_come_back_as_they_were_written(path):
    lines = read_journal(path)
    assert [(line.number, line.kind) for line in lines] == [(1, "begin"), (2, "job"), (3, "report")]
    assert [line.at for line in lines] == [1000.0, 1001.0, 1002.0], "the driver's clock"
    assert lines[1].fields == {"config": "a", "fold": 0, "until": 4}
    assert lines[2].fields["score"] != lines[2].fields["score"], "NaN survives"


def test_a_missing_journal_is_empty(tmp_path):
    assert read_journal(tmp_path / "none.jsonl") == []
    assert not is_driven(tmp_path / "none.jsonl")


@pytest.mark.parametrize("cut", range(1, 40, 6))
def test_a_torn_last_line_is_ignored_and_removed_before_the_next_record(path, cut):
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert [line.kind for line in read_journal(path)] == ["begin", "job"]
    with Journal(path) as journal:
        journal.append("end")
    assert [line.kind for line in read_journal(path)] == ["begin", "job", "end"]


@pytest.mark.parametrize("damage", ["not json", '{"v":1}', "[1]", "", '{"v":1,"kind":'])
def test_other_damage_is_an_error_with_its_line(path, damage):
    lines = path.read_text().splitlines()
    lines[1] = damage
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"journal\.jsonl, line 2: is damaged; launch --recover"):
        read_journal(path)


@pytest.mark.parametrize("order", [[0, 2], [0, 1, 1, 2], [1, 0, 2]])
def test_lost_repeated_and_moved_records_are_an_error(path, order):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[index] for index in order))
    with pytest.raises(UserError, match=r"is record \d instead of \d, so records were .*; launch --recover"):
        read_journal(path)


def test_a_changed_digit_is_an_error_although_it_is_valid_json(path):
    path.write_text(path.read_text().replace('"until":4', '"until":5'))
    with pytest.raises(UserError, match="line 2: is damaged"):
        read_journal(path)


def test_a_journal_of_the_first_version_is_resumed_with_checked_records(path):
    old = {"v": 1, "at": 1.0, "kind": "begin", "host": "there"}
    path.write_text(json.dumps(old) + "\n")
    with Journal(path) as journal:
        journal.append("end")
    found = [(line.number, line.kind, line.checked) for line in read_journal(path)]
    assert found == [(1, "begin", False), (2, "end", True)]
    path.write_text(path.read_text() + json.dumps(old) + "\n")
    with pytest.raises(UserError, match="line 3: is damaged"):
        read_journal(path)


def test_a_tail_reads_records_once_as_they_come(path):
    tail = Tail(path)
    assert [line.number for line in tail.read()] == [1, 2, 3] and tail.read() == []
    with Journal(path) as journal:
        journal.append("end")
    assert [line.number for line in tail.read()] == [4]


def test_a_journal_of_another_version_is_refused(path):
    path.write_text(json.dumps({"v": 99, "kind": "begin"}) + "\n")
    with pytest.raises(UserError, match="line 1: is of version 99 from here on"):
        read_journal(path)


def test_every_record_of_another_version_is_one_problem(path):
    path.write_text((json.dumps({"v": 99, "kind": "begin"}) + "\n") * 3)
    problems = []
    assert Tail(path, problems.append).read() == [] and len(problems) == 1


def test_only_one_process_can_write_and_others_see_that_it_is_driven(path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with Journal(path):
        assert is_driven(path)
        with pytest.raises(UserError, match="driven by another process"):
            Journal(path)
    assert not is_driven(path)
    with Journal(path):
        pass


def test_a_process_that_looks_whether_a_run_is_driven_does_not_keep_another_from_driving_it(path, monkeypatch):
    with path.open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda seconds: fcntl.flock(looking, fcntl.LOCK_UN))
        with Journal(path):
            assert is_driven(path)


def test_the_lock_of_a_killed_process_is_released(path):
    ready = multiprocessing.get_context("fork").Event()

    def hold():
        journal = Journal(path)
        ready.set()
        journal.append("begin")
        signal.pause()

    process = multiprocessing.get_context("fork").Process(target=hold)
    process.start()
    assert ready.wait(10) and is_driven(path)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not is_driven(path)


def test_a_full_disk_leaves_no_partial_record(path):
    """A limit on the file size makes the kernel cut off the write, like a full disk."""
    import resource

    before = path.read_bytes()
    messages = multiprocessing.get_context("fork").Queue()

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, len(before) + 20))
        try:
            with Journal(path) as journal:
                journal.append("job", config="b" * 100, fold=0, until=1)
        except (UserError, OSError) as error:
            messages.put(str(error))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    message = messages.get(timeout=10)
    process.join()
    assert "journal.jsonl: cannot be written (File too large)" in message and "launch again" in message
    assert path.read_bytes() == before
