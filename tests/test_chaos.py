"""What benchmarks/chaos.py injects faults with: clocks that jump, disks that fill, and searches of every kind."""

import json
import subprocess
import sys

import pytest
from moved_clock import MovedClock, build_library
from small_disk import SmallDisk

from benchmarks.chaos import EXTERNAL, KINDS, ROUND, chosen_pairs, summary
from benchmarks.chaos_victims import SCRIPTED_FAULTS, VICTIMS, space_of
from spaces.load import load_space
from trainable.errors import UserError

# Prints the time of the day at each line that it reads, and how long a wait of 10 ms for an event takes.
TELLS_TIME = """
import sys, threading, time
for _ in sys.stdin:
    began = time.monotonic()
    threading.Event().wait(0.01)
    print(time.time(), time.monotonic() - began, flush=True)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    try:
        return build_library(tmp_path_factory.mktemp("clock"))
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_the_clock_of_a_running_program_jumps_and_its_waits_stay_as_long(library, tmp_path):
    clock = MovedClock(library, tmp_path / "clock")
    command, talk = [sys.executable, "-S", "-c", TELLS_TIME], subprocess.PIPE
    with subprocess.Popen(command, stdin=talk, stdout=talk, text=True, env=clock.environment) as program:

        def ask():
            program.stdin.write("\n")
            program.stdin.flush()
            now, waited = map(float, program.stdout.readline().split())
            assert waited < 30
            return now

        start = ask()
        for shift in (86_400, -3600, 0):
            clock.move(shift)
            assert ask() - start == pytest.approx(shift, abs=60)
        program.stdin.close()


def test_a_small_disk_is_filled_to_the_last_byte_and_freed(tmp_path):
    try:
        disk = SmallDisk(tmp_path / "disk", megabytes=1)
    except PermissionError as error:
        pytest.skip(str(error))
    try:
        (disk.folder / "kept").write_bytes(b"before")
        assert not disk.is_full()
        disk.fill()
        assert disk.is_full()
        with pytest.raises(OSError, match="No space left"):
            (disk.folder / "more").write_bytes(bytes(10_000))
        disk.free()
        assert not disk.is_full() and (disk.folder / "kept").read_bytes() == b"before"
    finally:
        disk.close()


def test_every_fault_meets_every_kind_of_fold_trial():
    assert len(ROUND) == len(set(ROUND))
    assert set(ROUND) >= {(kind, victim) for kind in EXTERNAL for victim in VICTIMS}
    assert {kind for kind, _ in ROUND[: len(KINDS)]} == set(KINDS), "an interrupted benchmark has seen them all"
    assert {victim for _, victim in ROUND[: len(EXTERNAL)]} == set(VICTIMS)


@pytest.mark.parametrize("victim", VICTIMS)
def test_the_searches_are_valid_and_differ_between_worlds_not_between_kinds(victim, small_folder, tmp_path):
    def configs(kind, world):
        path = tmp_path / "space.yaml"
        path.write_text(json.dumps({**space_of(victim, kind, world, "grid", 0, small_folder), "name": "run"}))
        return {point.id for point in load_space(path).configs()}

    first = configs(None, 0)
    assert len(first) >= 3 and configs("links cut", 0) == first and not configs(None, 1) & first


@pytest.mark.parametrize("kind", SCRIPTED_FAULTS)
def test_the_script_has_the_faults_of_its_kind(kind, tmp_path):
    (fault, times), space = SCRIPTED_FAULTS[kind], space_of("scripted", kind, 0, "grid", 0, tmp_path)
    assert (space["parameters"]["fault"], space["parameters"]["fault_times"]) == (fault, times)


def test_searches_can_be_chosen_by_kind_and_victim():
    assert chosen_pairs(["links cut:torch"]) == [("links cut", "torch")]
    assert {victim for _, victim in chosen_pairs(["links cut"])} == set(VICTIMS)
    with pytest.raises(UserError, match="links cat: there is no such search"):
        chosen_pairs(["links cat"])


def test_a_summary_counts_a_search_by_its_kind_and_by_its_fold_trials():
    counted = dict.fromkeys(("lost", "doubled", "decided_otherwise", "other_scores", "blamed", "given_up"), 0)
    searches = [
        {**counted, "kind": kind, "victim": victim, "faults": faults, "survived": faults, "winner_kept": True,
         "busy_per_fault": busy, "wall_per_fault": 2.0, "lost": lost}
        for kind, victim, faults, busy, lost in (("links cut", "torch", 5, None, 0), ("links cut", "images", 4, 3.0, 1))
    ]  # fmt: skip
    rows = {row["kind"]: row for row in summary(searches)}
    assert list(rows) == ["links cut", "torch", "images", "all"]
    assert (rows["links cut"]["faults"], rows["links cut"]["lost"], rows["links cut"]["busy s per fault"]) == (
        9,
        1,
        3.0,
    )
    assert (rows["torch"]["faults"], rows["torch"]["busy s per fault"]) == (5, None)
