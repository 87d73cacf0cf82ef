"""The scale benchmark on a few simulated GPUs: its figures match the journal, and GPUs queue for the driver."""

import time

import pytest

from benchmarks.scale import exponents, in_advance, run_one
from benchmarks.simulated_driver import FOLDS, Driver, World
from search.policies import foldrace
from search.policies.foldrace import FoldRace
from search.runs.journal import read_journal


@pytest.fixture
def driven(tmp_path, monkeypatch):
    """A run whose decisions take exactly two seconds per record."""
    monkeypatch.setattr(time, "process_time", lambda: 0.0)

    def drive(gpus):
        path = tmp_path / f"{gpus}.jsonl"
        tally = Driver(FoldRace([], FOLDS), World(6, 4, "mild", seed=1), gpus, path, sync=2.0).run()
        return tally, [line.kind for line in read_journal(path)]

    return drive


def test_one_gpu_waits_for_every_record_but_the_last(driven):
    tally, kinds = driven(1)
    decisions = kinds.count("job") + kinds.count("report")
    assert len(tally.decisions) == decisions and tally.reports == kinds.count("report")
    assert tally.launch == 2.0 * (1 + 6)  # the begin record and six configs
    assert tally.wall == pytest.approx(tally.busy + 2.0 * decisions)
    assert tally.waited == pytest.approx(2.0 * (decisions - 1))


def test_several_gpus_queue_for_the_driver(driven):
    # six jobs are assigned at the start: the first GPU waits 2 s, the second 4 s, ...
    tally, kinds = driven(6)
    assert tally.waited >= 2 * (1 + 2 + 3 + 4 + 5 + 6)
    assert tally.waited > 2.0 * (kinds.count("job") + kinds.count("report"))


def test_a_small_run_gives_every_figure(tmp_path):
    row = run_one("foldrace", 40, 8, 10, tmp_path, sync=0.001)
    assert (row["fold_trials"], row["gpus"]) == (200, 8)
    assert 0.1 < row["cost"] < 1
    assert row["over_ideal"] >= 1 and row["wall"] >= row["chain"]
    assert 0 < row["waits"] <= row["idle"] < 1
    assert row["winner_place"] < 40 and row["reports"] < row["decisions"] < 2 * row["reports"]
    assert list(tmp_path.iterdir()) == []


def test_folds_in_advance_are_compared_with_one_fold_at_a_time(monkeypatch):
    monkeypatch.setattr(foldrace, "EXACT", 10)
    monkeypatch.setattr(foldrace, "LEFT", 0.5)
    without, with_them = in_advance(60, 60)
    assert (without["share"], with_them["share"]) == (0.0, 0.5)
    assert with_them["cost"] > without["cost"] and with_them["wall"] < without["wall"]
    expected = with_them["over_ideal"] * with_them["cost"] / without["cost"]
    assert with_them["over_ideal_without"] == pytest.approx(expected), "relative to the work without them"


def test_growth_is_compared_with_n_log_n():
    rows = [
        {"scheduler": "foldrace", "fold_trials": n, "driver_seconds": n, "journal_mb": n, "replay_seconds": n**2,
         "ledger_seconds": n}
        for n in (100, 1000, 10000)
    ]  # fmt: skip
    growth = exponents(rows)
    assert growth["driver_seconds"]["grows"] == pytest.approx(1.0)
    assert growth["replay_seconds"]["grows"] == pytest.approx(2.0)
    # log(n log n) rises by log(2 * 10) from 100 to 10,000: 1 + log10(2) / 2 = 1.15
    assert growth["driver_seconds"]["n_log_n"] == pytest.approx(1.15, abs=0.005)
