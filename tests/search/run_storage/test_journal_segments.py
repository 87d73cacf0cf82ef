"""A journal in pieces: sent as it grows, put together again, and never mixed with another one."""

import json

import pytest

from search.run_storage import journal_segments
from search.run_storage.journal_segments import JournalDiverged, SegmentUploader, pull
from search.runs.journal import Journal, read_journal
from trainable.errors import UserError
from trainable.storage.object_store import Store, StoreFailed

# Connections that the server of the tests has left to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def store(object_store, monkeypatch):
    monkeypatch.setattr(journal_segments, "FULL", 300)  # bytes: a handful of records
    return Store(object_store.url("runs/demo"), patience=0)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "mine/journal.jsonl"


def write(path, count, **facts):
    with Journal(path, clock=lambda: 1.0) as opened:
        for number in range(count):
            opened.append("note", number=number, **facts)


def pieces(object_store):
    return [name.rpartition("/")[2] for name in object_store.names("runs/demo/journal/")]


def whole(object_store):
    return b"".join(object_store.read(name) for name in object_store.names("runs/demo/journal/"))


def test_a_journal_is_sent_as_it_grows_in_pieces_named_by_their_first_line(store, object_store, journal):
    sender = SegmentUploader(store, journal)
    sender.push(store)
    assert pieces(object_store) == []
    for _ in range(9):
        write(journal, 3)
        sender.push(store)
        assert whole(object_store) == journal.read_bytes()
    names = pieces(object_store)
    assert len(names) > 3 and names[0] == "000000001.jsonl"
    for name in names[:-1]:
        assert len(object_store.read(f"runs/demo/journal/{name}")) >= 300
    for name in names:
        first = json.loads(object_store.read(f"runs/demo/journal/{name}").splitlines()[0])
        assert first["number"] == (int(name[:9]) - 1) % 3


def test_a_sender_that_starts_again_goes_on_where_the_one_before_stopped(store, object_store, journal):
    for _ in range(5):
        write(journal, 2)
        SegmentUploader(store, journal).push(store)
        assert whole(object_store) == journal.read_bytes()


def test_a_torn_last_line_is_not_sent(store, object_store, journal):
    write(journal, 2)
    before = journal.read_bytes()
    with journal.open("ab") as file:
        file.write(b'{"v":1,"at"')
    SegmentUploader(store, journal).push(store)
    assert whole(object_store) == before


def test_a_sender_that_fails_in_between_loses_and_doubles_nothing(store, object_store, journal, monkeypatch):
    write(journal, 20)
    sender = SegmentUploader(store, journal)
    send, left = Store.write, [2]

    def failing(store, name, content):
        if not left[0]:
            raise StoreFailed("gone")
        left[0] -= 1
        send(store, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", failing)
        with pytest.raises(StoreFailed):
            sender.push(store)
    assert journal.read_bytes().startswith(whole(object_store)) and len(pieces(object_store)) == 2
    sender.push(store)
    assert whole(object_store) == journal.read_bytes()


def test_a_rebuilt_journal_takes_the_place_of_the_old_one(store, object_store, journal, tmp_path):
    write(journal, 30)
    sender = SegmentUploader(store, journal)
    sender.push(store)
    write(tmp_path / "rebuilt", 2, rebuilt=True)
    (tmp_path / "rebuilt").replace(journal)
    sender.push(store)
    assert whole(object_store) == journal.read_bytes() and pieces(object_store) == ["000000001.jsonl"]
    SegmentUploader(store, journal, anew=True).push(store)
    assert whole(object_store) == journal.read_bytes()


def test_a_copy_gains_what_is_new_and_fetches_nothing_twice(store, object_store, journal, tmp_path, monkeypatch):
    copy = tmp_path / "copy/journal.jsonl"
    assert not pull(store, copy) and not copy.exists()
    sender = SegmentUploader(store, journal)
    for _ in range(6):
        write(journal, 3)
        sender.push(store)
        assert pull(store, copy) and copy.read_bytes() == journal.read_bytes()
        assert not pull(store, copy)
    read = []
    monkeypatch.setattr(Store, "read", lambda self, name, read_=Store.read: read.append(name) or read_(self, name))
    assert not pull(store, copy) and len(read) == 1, "only the piece that may have grown"
    other = tmp_path / "other/journal.jsonl"
    assert pull(store, other) and other.read_bytes() == journal.read_bytes()
    assert len(read_journal(other)) == 18


def test_a_copy_that_holds_more_stays_and_its_torn_end_is_mended(store, journal, tmp_path):
    write(journal, 10)
    SegmentUploader(store, journal).push(store)
    write(journal, 3)
    longer = journal.read_bytes()
    assert not pull(store, journal) and journal.read_bytes() == longer
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(longer[:200])
    assert pull(store, copy) and longer.startswith(copy.read_bytes()) and len(read_journal(copy)) == 10


@pytest.mark.parametrize("common", [0, 1, 8])
def test_two_journals_that_have_gone_different_ways_are_an_error(store, journal, tmp_path, common):
    write(journal, common)
    other = tmp_path / "other/journal.jsonl"
    other.parent.mkdir()
    other.write_bytes(journal.read_bytes() if common else b"")
    write(journal, 5, by="me")
    write(other, 9, by="somebody else")
    SegmentUploader(store, journal).push(store)
    before = other.read_bytes()
    with pytest.raises(UserError, match=f"have gone different ways.*rm -r {other.parent}"):
        pull(store, other)
    assert other.read_bytes() == before


def test_a_driver_does_not_write_over_the_journal_of_another(store, object_store, journal, tmp_path):
    write(journal, 2)
    sender = SegmentUploader(store, journal)
    sender.push(store)
    other = tmp_path / "other/journal.jsonl"
    pull(store, other)
    write(other, 1, by="somebody else")
    SegmentUploader(store, other).push(store)
    write(journal, 1, by="me")
    with pytest.raises(JournalDiverged):
        sender.push(store)
    assert whole(object_store) == other.read_bytes()


def test_a_missing_piece_is_told_with_its_lines(store, journal, tmp_path):
    write(journal, 30)
    SegmentUploader(store, journal).push(store)
    names = sorted(store.names("journal"))
    store.delete(names[1])
    first, after = (int(name[-15:-6]) for name in (names[1], names[2]))
    with pytest.raises(UserError, match=f"lines {first} to {after - 1} of its journal are missing; launch --recover"):
        pull(store, tmp_path / "copy.jsonl")
    assert not (tmp_path / "copy.jsonl").exists()


def test_names_that_are_no_pieces_are_passed_over(store, journal, tmp_path):
    write(journal, 3)
    SegmentUploader(store, journal).push(store)
    for name in ("journal/notes.txt", "journal/1.jsonl", "journal/x/000000001.jsonl"):
        store.write(name, b"nonsense\n")
    assert pull(store, tmp_path / "copy.jsonl") and (tmp_path / "copy.jsonl").read_bytes() == journal.read_bytes()
