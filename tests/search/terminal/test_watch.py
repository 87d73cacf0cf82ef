"""The live view on a pseudo-terminal: in the driver's terminal and in that of a watcher."""

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import termios
from functools import partial
from pathlib import Path

import demo_run
import pytest
from forked_child import CHILDREN
from rich.console import Console

from search.runs.journal import Journal, Tail, read_journal
from search.runs.run_folder import Run
from search.terminal.plain_view import PlainView
from search.terminal.watch import _follow, use_live_view

ROOT = Path(__file__).parents[3]
SPACE = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.76]}
  steps: 4
  step_seconds: 0.05
scheduler: foldrace
resources: {gpu: 0, cpu: 1}
"""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
ALLOWED = re.compile(r"\x1b\[(\d+(;\d+)*m|1A|2K|\?25[lh])|\r\n|\r")  # colours; up a line, wipe it; the cursor


class Terminal:
    """A program on a pseudo-terminal of 100 x 30, and its output."""

    def __init__(self, fork_server, folder, *words):
        self.fd, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        drop = {"NO_COLOR", "CI", "COLUMNS", "LINES", "FORCE_COLOR"}
        kept = {name: value for name, value in os.environ.items() if name not in drop}
        given = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LANG": "C.UTF-8", CHILDREN: "1"}
        self.process = fork_server.start(["-m", "search", *words], folder, kept | given, terminal=inside)
        os.close(inside)
        self.text = ""

    def read_until(self, words, seconds=90):
        """Read until the text appears or the program ends."""
        while words not in self.text and select.select([self.fd], [], [], seconds)[0]:
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                break
        return self.text

    def end(self):
        self.read_until("never printed")
        code = self.process.wait(120)
        os.close(self.fd)
        return code


@pytest.fixture
def on_terminal(tmp_path, fork_server):
    """Run a command of the search on a terminal, in a folder with a space."""
    (tmp_path / "demo.yaml").write_text(SPACE)
    return partial(Terminal, fork_server, tmp_path)


def screen_of(text):
    """The lines on the screen at the end, after all erasures."""
    lines = [""]
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r\n|\r|\n)", text):
        if part in ("\r\n", "\n"):
            lines.append("")
        elif part == "\x1b[1A":
            lines.pop()
        elif part == "\x1b[2K":
            lines[-1] = ""
        elif part and not part.startswith("\x1b") and part != "\r":
            lines[-1] += part
    return lines


def test_a_launch_on_a_terminal_draws_the_view_and_leaves_its_last_frame(on_terminal):
    driver = on_terminal("launch", "demo.yaml")
    driver.read_until("running")
    watcher = on_terminal("watch", "demo", "--interval", "0.1")
    assert driver.end() == 0, driver.text
    assert watcher.end() == 0, watcher.text
    screen = screen_of(driver.text)
    titles = [line for line in screen if line.startswith("demo, foldrace, 2 configs × 2 folds")]
    assert len(titles) == 1 and "ended: every job is done" in titles[0], "one view, in its final state"
    assert any("●●" in line and "complete" in line for line in screen)
    assert any(line.startswith("The winner is") for line in screen)
    assert "train until" not in driver.text, "the view replaces the event lines"
    seen = screen_of(watcher.text)
    assert [line for line in seen if line.startswith("demo, foldrace")] == titles
    assert "Next: python -m search status runs/demo" in seen
    for text in (driver.text, watcher.text):
        assert "\x1b" not in ALLOWED.sub("", text) and text.count("\x1b[?25l") == text.count("\x1b[?25h") >= 1
        screen = screen_of(text)
        assert max(map(len, screen[screen.index(titles[0]) :])) <= 100, "only the text above the view may wrap"


def test_ctrl_c_is_shown_in_the_view_and_the_run_stops_gracefully(on_terminal):
    driver = on_terminal("launch", "demo.yaml", "--set", "parameters.step_seconds=0.5")
    driver.read_until("fold 0 at step")
    watcher = on_terminal("watch", "demo")
    watcher.read_until("fold 0 at step")
    watcher.process.send_signal(signal.SIGINT)
    assert watcher.end() == 130
    assert screen_of(watcher.text)[-2].strip() == "python -m search watch demo"
    assert driver.process.poll() is None, "the run continues without the watcher"
    driver.process.send_signal(signal.SIGINT)
    driver.read_until("stopping after the reports")
    assert driver.end() == 130
    screen = screen_of(driver.text)
    titles = [line for line in screen if line.startswith("demo, foldrace, 2 configs")]
    assert len(titles) == 1 and "ended: interrupted" in titles[0], screen
    assert screen[-2].strip().startswith("python -m search launch demo.yaml")


@pytest.mark.parametrize(
    ("environment", "terminal", "view"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "CI": "true"}, True, False),
    ],
)
def test_a_launch_draws_only_on_a_capable_terminal(environment, terminal, view):
    console = Console(file=io.StringIO(), force_terminal=terminal, _environ=environment)
    assert use_live_view(console, environment) is view


def written(folder, lines):
    """A run whose journal has these records."""
    from search.runs.run_folder import SPACE as NAME
    from spaces.load import load_space
    from trainable.storage.atomic_files import write_json

    folder.mkdir(exist_ok=True)
    (folder / "demo.yaml").write_text(SPACE.replace("folds: 2", "folds: 3"))
    write_json(folder / "runs/demo" / NAME, load_space(str(folder / "demo.yaml"), []).canonical())
    run = Run(folder / "runs/demo")
    clock = iter([line.at for line in lines])
    with Journal(run.journal, clock=clock.__next__) as journal:
        for line in lines:
            journal.append(line.kind, **line.fields)
    return run


def test_a_tail_continues_where_the_last_read_ended(tmp_path):
    run = written(tmp_path, demo_run.lines())
    content = run.journal.read_bytes()
    run.journal.write_bytes(b"")
    tail, seen = Tail(run.journal), []
    for start in range(0, len(content), 100):  # most reads see a partial line
        with run.journal.open("ab") as file:
            file.write(content[start : start + 100])
        seen += tail.read()
    assert seen == read_journal(run.journal) and [line.number for line in seen] == list(range(1, len(seen) + 1))
    run.journal.unlink()
    run.journal.write_bytes(content[: content.index(b"\n") + 1])
    assert [line.number for line in tail.read()] == [1], "a new journal is read from its start"


class RecordingView:
    """A view that records its input; ``on_look`` holds actions that run between updates."""

    def __init__(self, on_look):
        self.on_look, self.lines, self.driven = on_look, [], []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def catch_up(self, lines):
        self.lines += lines

    show = catch_up

    def set_driven(self, driven):
        self.driven.append(driven)
        if self.on_look:
            self.on_look.pop(0)()


def test_a_watcher_outlives_a_driver_that_was_killed_and_launched_again(tmp_path):
    run = written(tmp_path, demo_run.lines()[:40])
    drivers = [Journal(run.journal)]
    steps = [
        lambda: drivers[0].append("begin"),
        lambda: drivers.pop().close(),  # as a kill would
        lambda: None,
        lambda: drivers.append(Journal(run.journal)),
        lambda: drivers[0].append("end", reason="every job is done"),
        lambda: drivers.pop().close(),
    ]
    screen = RecordingView(steps)
    _follow(run, screen, 0.01)
    assert [line.kind for line in screen.lines[40:]] == ["begin", "end"] and not steps
    assert screen.driven[0] and False in screen.driven[1:-1]


def test_a_finished_or_dead_run_is_shown_once(tmp_path, capsys):
    lines = demo_run.lines()
    _follow(written(tmp_path / "over", lines), PlainView(history=True), 60.0)
    assert capsys.readouterr().err.splitlines()[-1].endswith("ended: every job is done")
    _follow(written(tmp_path / "died", lines[:40]), PlainView(history=True), 60.0)
    assert len(capsys.readouterr().err.splitlines()) > 10


def test_without_a_terminal_the_view_is_printed_once(tmp_path, fork_server):
    written(tmp_path, demo_run.lines())
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "90"}

    def program(*words):
        return fork_server.run(["-m", "search", *words], tmp_path, environment)

    done = program("watch", "demo")
    assert done.returncode == 0 and "\x1b" not in done.stdout, done.stderr
    assert done.stdout.splitlines()[0].startswith("demo, foldrace, 18 configs") and done.stderr == ""
    plain = program("watch", "demo", "--plain")
    assert plain.stderr.count("train until") == sum(line.kind == "job" for line in demo_run.lines())
    wrong = program("watch", "nothing")
    assert wrong.returncode == 2 and "no such run" in wrong.stderr and "Traceback" not in wrong.stderr
