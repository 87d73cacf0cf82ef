"""The live view as text: golden pictures at several widths, and what holds for every picture."""

import random
from dataclasses import replace
from pathlib import Path

import demo_run
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.messages import Entrant
from search.runs.fold_states import STATES
from search.runs.status import Status
from search.terminal.glyphs import ASCII, UNICODE
from search.terminal.listing import document
from search.terminal.plain_view import describe
from search.terminal.snapshot import Size, clock, draw, hours, take_snapshot

GOLDEN = Path(__file__).parent / "golden"
LINES = demo_run.lines()
MIDDLE = 64


def status_after(count, lines=LINES, scheduler="asha"):
    status = Status(demo_run.policy(scheduler))
    for line in lines[:count]:
        status.note(line)
    return status


def text_of(status, size, now, **more):
    frame = draw(take_snapshot(status, "full_grid, asha", size.configs), status.elapsed(now), size, **more)
    return "".join(f"{line.plain}\n" for line in frame)


def check(name, text):
    """To update a golden text, delete it, run the test and review the difference."""
    path = GOLDEN / f"{name}.txt"
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"{path} did not exist and was written; review it")
    assert text == path.read_text()


@pytest.mark.parametrize("count", [19, MIDDLE, len(LINES)], ids=["begin", "middle", "end"])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_the_view_matches_the_golden_text(count, width, height, request):
    moment = request.node.callspec.id.split("-")[-1]
    text = text_of(status_after(count), Size(width, height), LINES[count - 1].at + 5)
    check(f"{moment}_{width}", text)


def test_an_ascii_terminal_shows_the_same(request):
    text = text_of(status_after(MIDDLE), Size(80, 24, ASCII), LINES[MIDDLE - 1].at + 5)
    assert text.isascii()
    check("middle_80_ascii", text)


def test_the_plain_view_is_a_line_per_event():
    text = "".join(f"{clock(line.at - demo_run.START)}  {words}\n" for line in LINES if (words := describe(line)))
    check("plain", text)


def test_folds_on_a_quarter_of_a_gpu_take_a_quarter_of_it_and_all_of_their_time():
    def shared(line):
        return replace(line, fields={**line.fields, "gpus": 0.25}) if line.kind == "report" else line

    size, now = Size(120, 40), LINES[MIDDLE - 1].at + 5
    whole = text_of(status_after(MIDDLE), size, now).splitlines()
    quarter = text_of(status_after(MIDDLE, [shared(line) for line in LINES]), size, now).splitlines()
    assert quarter[0] == whole[0] and "left" in whole[0]
    assert quarter[2] != whole[2] and "GPU time" in whole[2]


def test_a_notice_replaces_the_state():
    text = text_of(status_after(MIDDLE), Size(100, 24), LINES[MIDDLE - 1].at, notice="stopping after the reports")
    assert "stopping after the reports" in text.splitlines()[0] and "running" not in text.splitlines()[0]


@st.composite
def runs(draw_):
    """A run of odd parameters and many folds, cut off anywhere; its driver may be gone."""
    rng = random.Random(draw_(st.integers(0, 10**6)))
    words = ["", "x" * 30, "文字文字文字文字", "a\tb\x1b[31m\n", None, 1e-7, True, ["a", 1.5], "é"]
    entrants = [
        Entrant(f"{k:x}" * rng.choice([1, 12]) + str(k), (1, 2, 3, 4), _odd(rng, words))
        for k in range(rng.randint(0, 20))
    ]
    scheduler = rng.choice(["grid", "asha", "halving", "foldrace"])
    lines = demo_run.lines(scheduler, entrants, workers=rng.randint(1, 6), seed=rng.random())
    return scheduler, lines[: rng.randint(1, len(lines))], rng.random() < 0.5


def _odd(rng, words):
    lines = {"augmentation": rng.choice(demo_run.LEVELS), "batch_size": rng.choice(demo_run.SIZES)}
    return lines | {f"parameter_{k}": rng.choice(words) for k in range(rng.randint(0, 4)) if rng.random() < 0.8}


@settings(max_examples=40)
@given(runs(), st.integers(1, 200), st.integers(1, 60), st.sampled_from([UNICODE, ASCII]))
def test_the_view_fits_the_terminal(run, width, height, glyphs):
    scheduler, lines, driven = run
    status = status_after(len(lines), lines, scheduler)
    status.set_driven(driven)
    size = Size(width, height, glyphs)
    snapshot = take_snapshot(status, "a_run_of_a_long_name, foldrace", size.configs)
    frame = draw(snapshot, status.elapsed(lines[-1].at), size, "")
    assert max(line.cell_len for line in frame) <= width
    assert len(frame) <= max(height - 1, 10)
    assert all(sign.isprintable() for line in frame for sign in line.plain)
    counts = document(status)["trials"]
    assert {state: snapshot.counts[state] for state in STATES} == {state: counts[state] for state in STATES}
    shown = [each.config for each in snapshot.field.shown]
    assert len(shown) == len(set(shown)) == min(size.configs, len(status.score_table.entrants))
    assert len(shown) + sum(count for _, count in snapshot.field.hidden) == len(status.score_table.entrants)


def test_a_view_of_many_configs_shows_the_best_the_running_and_the_last_stopped():
    many = [Entrant(f"c{k}", (1, 2, 3, 4), {"augmentation": "low", "batch_size": 6, "k": k}) for k in range(300)]
    lines = demo_run.lines("asha", many, workers=8, faults=False)
    status = status_after(len(lines) // 2, lines)
    field = take_snapshot(status, "many").field
    assert field.shown[0].rank == 1 and len(field.shown) == 12
    assert sum(each.state == "running" for each in field.shown) >= 6
    stopped = [config for (config, _), trial in status.trials.items() if trial.state == "paused"]
    last = max(stopped, key=lambda config: max(t.changed for (c, _), t in status.trials.items() if c == config))
    assert last in [each.config for each in field.shown]


def test_times_are_formatted_for_people():
    assert [clock(5.9), clock(65), clock(3661)] == ["0:05", "1:05", "1:01:01"]
    assert [hours(12.4), hours(1800), hours(36000)] == ["12 s", "0.50 h", "10.00 h"]
