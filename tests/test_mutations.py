"""The files of a run are damaged in every way: what is read is the same, recovered or refused by name."""

import random
from collections import Counter

import pytest

from benchmarks.mutated_runs import scripted_run
from benchmarks.mutations import MUTATIONS, mutate
from trainable.storage import checked_json


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return scripted_run(tmp_path_factory.mktemp("runs"))


def outcomes(run, tmp_path, count):
    rows = list(mutate(run, None, count, random.Random(1), tmp_path))
    return Counter(row["outcome"] for row in rows), rows


def test_no_mutation_is_silent_or_a_traceback(run, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    found, rows = outcomes(run, tmp_path, 7 * 3 * len(MUTATIONS))
    assert len({row["file"] for row in rows}) == 7, "files of the run"
    assert not found["silent"] and not found["traceback"], [
        row for row in rows if row["outcome"] in ("silent", "traceback")
    ]
    assert found["refused"] > 100 and found["recovered"] > 10


def test_without_checksums_mutations_would_be_silent(run, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setattr(checked_json, "_body", lambda content, end: content[: -len(end % 0)])
    assert outcomes(run, tmp_path, 7 * len(MUTATIONS))[0]["silent"] > 5
