"""Journal segments: uploaded as the journal grows, joined again by readers, and never mixed with another journal."""

import json

import pytest

from search.run_storage import journal_segments
from search.run_storage.journal_segments import JournalDiverged, SegmentUploader, pull
from search.runs.journal import Journal, read_journal
from trainable.errors import UserError
from trainable.storage.object_store import Store, StoreFailed

# The test server leaves closing its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def store(object_store, monkeypatch):
    monkeypatch.setattr(journal_segments, "SEGMENT_BYTES", 450)  # bytes: a handful of records
    return Store(object_store.url("runs/demo"), patience=0)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "mine/journal.jsonl"


def write(path, count, **fields):
    with Journal(path, clock=lambda: 1.0) as journal:
        for number in range(count):
            journal.append("note", number=number, **fields)


def segments(object_store):
    return [name.rpartition("/")[2] for name in object_store.names("runs/demo/journal/")]


def uploaded(object_store):
    return b"".join(object_store.read(name) for name in object_store.names("runs/demo/journal/"))


def test_a_journal_is_uploaded_in_segments_named_by_their_first_line(store, object_store, journal):
    uploader = SegmentUploader(store, journal)
    uploader.push(store)
    assert segments(object_store) == []
    for _ in range(9):
        write(journal, 3)
        uploader.push(store)
        assert uploaded(object_store) == journal.read_bytes()
    names = segments(object_store)
    assert len(names) > 3 and names[0] == "000000001.jsonl"
    for name in names[:-1]:
        assert len(object_store.read(f"runs/demo/journal/{name}")) >= 300
    for name in names:
        first = json.loads(object_store.read(f"runs/demo/journal/{name}").splitlines()[0])
        assert first["number"] == (int(name[:9]) - 1) % 3


def test_a_new_uploader_continues_where_the_previous_one_stopped(store, object_store, journal):
    for _ in range(5):
        write(journal, 2)
        SegmentUploader(store, journal).push(store)
        assert uploaded(object_store) == journal.read_bytes()


def test_a_torn_last_line_is_not_uploaded(store, object_store, journal):
    write(journal, 2)
    before = journal.read_bytes()
    with journal.open("ab") as file:
        file.write(b'{"v":1,"at"')
    SegmentUploader(store, journal).push(store)
    assert uploaded(object_store) == before


def test_an_upload_that_fails_halfway_loses_and_duplicates_nothing(store, object_store, journal, monkeypatch):
    write(journal, 20)
    uploader = SegmentUploader(store, journal)
    original, left = Store.write, [2]

    def failing(store, name, content):
        if not left[0]:
            raise StoreFailed("gone")
        left[0] -= 1
        original(store, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", failing)
        with pytest.raises(StoreFailed):
            uploader.push(store)
    assert journal.read_bytes().startswith(uploaded(object_store)) and len(segments(object_store)) == 2
    uploader.push(store)
    assert uploaded(object_store) == journal.read_bytes()


def test_a_rebuilt_journal_replaces_the_old_one(store, object_store, journal, tmp_path):
    write(journal, 30)
    uploader = SegmentUploader(store, journal)
    uploader.push(store)
    write(tmp_path / "rebuilt", 2, rebuilt=True)
    (tmp_path / "rebuilt").replace(journal)
    uploader.push(store)
    assert uploaded(object_store) == journal.read_bytes() and segments(object_store) == ["000000001.jsonl"]


@pytest.mark.parametrize("local", [0, 2, 40])
def test_a_journal_that_is_to_be_rebuilt_replaces_nothing_before_it_is(store, object_store, journal, tmp_path, local):
    write(journal, 30)
    SegmentUploader(store, journal).push(store)
    before, copy = uploaded(object_store), tmp_path / "copy/journal.jsonl"
    if local:
        write(copy, local, diverged=True)
    uploader = SegmentUploader(store, copy, overwrite=True)
    uploader.push(store)
    assert uploaded(object_store) == before, "the launch may be refused"
    write(tmp_path / "rebuilt", 2, rebuilt=True)
    copy.parent.mkdir(exist_ok=True)
    (tmp_path / "rebuilt").replace(copy)
    uploader.push(store)
    write(copy, 1)
    uploader.push(store)
    assert uploaded(object_store) == copy.read_bytes()


def test_a_copy_downloads_what_is_new_and_nothing_twice(store, object_store, journal, tmp_path, monkeypatch):
    copy = tmp_path / "copy/journal.jsonl"
    assert not pull(store, copy) and not copy.exists()
    uploader = SegmentUploader(store, journal)
    for _ in range(6):
        write(journal, 3)
        uploader.push(store)
        assert pull(store, copy) and copy.read_bytes() == journal.read_bytes()
        assert not pull(store, copy)
    names, original = [], Store.read
    monkeypatch.setattr(Store, "read", lambda self, name: names.append(name) or original(self, name))
    assert not pull(store, copy) and len(names) == 1, "only the segment that may have grown"
    other = tmp_path / "other/journal.jsonl"
    assert pull(store, other) and other.read_bytes() == journal.read_bytes()
    assert len(read_journal(other)) == 18


def test_a_copy_that_is_ahead_stays_and_a_torn_last_line_is_completed(store, journal, tmp_path):
    write(journal, 10)
    SegmentUploader(store, journal).push(store)
    write(journal, 3)
    longer = journal.read_bytes()
    assert not pull(store, journal) and journal.read_bytes() == longer
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(longer[:200])
    assert pull(store, copy) and longer.startswith(copy.read_bytes()) and len(read_journal(copy)) == 10


@pytest.mark.parametrize("common", [0, 1, 8])
def test_diverged_journals_are_an_error(store, journal, tmp_path, common):
    write(journal, common)
    other = tmp_path / "other/journal.jsonl"
    other.parent.mkdir()
    other.write_bytes(journal.read_bytes() if common else b"")
    write(journal, 5, by="this driver")
    write(other, 9, by="another driver")
    SegmentUploader(store, journal).push(store)
    before = other.read_bytes()
    with pytest.raises(UserError, match=f"have diverged.*rm -r {other.parent}"):
        pull(store, other)
    assert other.read_bytes() == before


def test_a_driver_does_not_overwrite_the_journal_of_another(store, object_store, journal, tmp_path):
    write(journal, 2)
    uploader = SegmentUploader(store, journal)
    uploader.push(store)
    other = tmp_path / "other/journal.jsonl"
    pull(store, other)
    write(other, 1, by="another driver")
    SegmentUploader(store, other).push(store)
    write(journal, 1, by="this driver")
    with pytest.raises(JournalDiverged):
        uploader.push(store)
    assert uploaded(object_store) == other.read_bytes()


def test_the_error_names_the_lines_of_a_missing_segment(store, journal, tmp_path):
    write(journal, 30)
    SegmentUploader(store, journal).push(store)
    names = sorted(store.names("journal"))
    store.delete(names[1])
    first, after = (int(name[-15:-6]) for name in (names[1], names[2]))
    with pytest.raises(UserError, match=f"lines {first} to {after - 1} of its journal are missing; launch --recover"):
        pull(store, tmp_path / "copy.jsonl")
    assert not (tmp_path / "copy.jsonl").exists()


def test_other_names_in_the_folder_are_ignored(store, journal, tmp_path):
    write(journal, 3)
    SegmentUploader(store, journal).push(store)
    for name in ("journal/notes.txt", "journal/1.jsonl", "journal/x/000000001.jsonl"):
        store.write(name, b"nonsense\n")
    assert pull(store, tmp_path / "copy.jsonl") and (tmp_path / "copy.jsonl").read_bytes() == journal.read_bytes()
