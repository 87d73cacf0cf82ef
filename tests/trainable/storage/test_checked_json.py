"""Checksums of JSON: every changed byte is noticed, and files of older versions are read as they are."""

import json

import pytest

from trainable.errors import UserError
from trainable.storage.checked_json import (
    append_record,
    document_of,
    read_checked,
    read_lines,
    text_of,
    write_checked,
    write_checked_yaml,
)

VALUE = {"b": 1.5, "a": {"é": [1, None, "x, y"]}, "c": float("nan")}
RECORDS = [{"step": step, "score": step / 7} for step in range(1, 5)]


def written(tmp_path, write):
    write(tmp_path / "file", VALUE)
    return tmp_path / "file"


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.jsonl"
    for record in RECORDS:
        append_record(path, record)
    return path


@pytest.mark.parametrize("write", [write_checked, write_checked_yaml])
def test_a_document_comes_back_and_no_changed_byte_changes_it(tmp_path, write):
    path = written(tmp_path, write)
    content = path.read_bytes()
    assert str(read_checked(path)) == str({key: VALUE[key] for key in read_checked(path)})
    assert list(read_checked(path)) == (list(VALUE) if write is write_checked_yaml else sorted(VALUE))
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(UserError, match="is damaged; restore it"):
            read_checked(path)


def test_no_hole_makes_a_checked_document_look_like_an_old_one(tmp_path):
    path = tmp_path / "file"
    write_checked(path, {"a": [1], "b": 2})
    content = path.read_bytes()
    for start in range(len(content)):
        for end in range(start + 1, len(content) + 1):
            path.write_bytes(content[:start] + content[end:])
            with pytest.raises(UserError):
                read_checked(path)


def test_a_document_can_be_read_without_this_program(tmp_path):
    path = written(tmp_path, write_checked)
    document = json.loads(path.read_text())
    assert document["a"] == VALUE["a"] and set(document) == {*VALUE, "v", "sum"}


def test_a_document_of_an_older_version_is_read_as_it_is(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps({"v": 1, "a": 2}))
    assert read_checked(tmp_path / "old.json") == {"v": 1, "a": 2}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b"{", json.dumps({"a": 1, "sum": "x"}).encode()])
def test_other_content_is_an_error_that_says_what_to_do(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match="file: is damaged; make it again"):
        read_checked(tmp_path / "file", "make it again")


def test_a_missing_document_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"none: cannot be read \(No such file"):
        read_checked(tmp_path / "none")


def test_records_come_back_and_no_changed_byte_changes_them(lines):
    content = lines.read_bytes()
    assert read_lines(lines) == RECORDS
    for at in range(len(content) - 1):  # without its newline, the last line counts as cut short
        lines.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(UserError, match=r"lines.jsonl, line \d: is "):
            read_lines(lines)


@pytest.mark.parametrize(
    ("order", "line", "kept"),
    [([0, 2, 3], 2, [0, 2, 3]), ([0, 1, 1, 2, 3], 3, [0, 1, 2, 3]), ([1, 0, 2, 3], 1, [1, 2, 3])],
)
def test_lines_that_are_lost_repeated_or_moved_are_noticed_and_the_others_can_be_kept(lines, order, line, kept):
    whole = lines.read_text().splitlines(keepends=True)
    lines.write_text("".join(whole[index] for index in order))
    with pytest.raises(UserError, match=rf"line {line}: is record \d instead of \d, so records were lost, repeated"):
        read_lines(lines)
    problems = []
    assert read_lines(lines, problems.append) == [RECORDS[index] for index in kept] and problems


def test_a_damaged_line_is_one_problem(lines):
    whole = lines.read_text().splitlines(keepends=True)
    problems = []
    lines.write_text("".join([whole[0], "{}}\n", *whole[2:]]))
    assert read_lines(lines, problems.append) == [RECORDS[0], *RECORDS[2:]] and len(problems) == 1


def test_records_of_an_older_version_are_read_only_before_those_of_this_one(tmp_path):
    path = tmp_path / "old.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS[:2]))
    append_record(path, RECORDS[2])
    assert read_lines(path) == RECORDS[:3]
    path.write_text(path.read_text() + json.dumps(RECORDS[3]) + "\n")
    with pytest.raises(UserError, match="line 4: is damaged, so"):
        read_lines(path, advice=", so")


def test_a_last_line_that_a_crash_cut_short_is_left_out(lines):
    lines.write_bytes(lines.read_bytes()[:-5])
    assert read_lines(lines) == RECORDS[:-1]


def test_texts_are_what_is_appended_and_written(lines, tmp_path):
    assert text_of(RECORDS) == lines.read_text()
    write_checked(tmp_path / "file", VALUE)
    assert document_of(VALUE) == (tmp_path / "file").read_text()
