"""A run in an object store, as a person launches it: from one machine, from another, and while the store is away."""

import json
import signal
import time
from pathlib import Path

import pytest
from object_store import CREDENTIALS
from typer.testing import CliRunner

from analysis.__main__ import app as analysis
from search.__main__ import app as search
from search.policies.registry import policy_of
from search.run_storage.find_runs import find_run
from search.runs.study import verdicts
from trainable.errors import UserError

# Connections that the server of the tests has left to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
DOOMED = str(Path(__file__).parents[2] / "support" / "doomed.py")
SPACE = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.74, 0.76]}
  steps: 6
  evaluations: 6
  step_seconds: 0.4
scheduler: grid
resources: {gpu: 0, cpu: 1}
"""
EVERYTHING = 3 * 2 * 6
AWAY = 30.0  # seconds without the store; the search itself would have ended before


@pytest.fixture
def root(object_store):
    return object_store.url("runs")


@pytest.fixture
def launch(start, tmp_path, root):
    """Launch the demo on a machine of this name, which has its own disk and its own Ray; its fate first, if any."""
    (tmp_path / "demo.yaml").write_text(SPACE)

    def begin(machine, *fate):
        own = {"SCRIBBLE_SEARCH_CACHE": str(tmp_path / machine), "RAY_ADDRESS": "", **CREDENTIALS}
        program = [DOOMED, *fate] if fate else ["-m", "search"]
        return start(*program, "launch", "demo.yaml", "--runs", root, **own)

    return begin


@pytest.fixture
def launched(launch):
    """Launch it and wait for its end; the exit code and what it said."""

    def to_the_end(machine, *fate):
        process = launch(machine, *fate)
        _, err = process.communicate(timeout=150)
        return process.returncode, err

    return to_the_end


@pytest.fixture
def ask(tmp_path, root, monkeypatch):
    """Any other command, given on a machine of this name; what it printed, or the error in its own words."""

    def answer(machine, app, *words):
        monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / machine))
        done = CliRunner().invoke(app, [*words, "--runs", root])
        if isinstance(done.exception, UserError):
            return f"error: {done.exception}"
        assert done.exit_code == 0, done.output
        return done.stdout

    return answer


def sent(object_store):
    """The journal as the store has it."""
    pieces = [object_store.read(name) for name in object_store.names("runs/demo/journal/")]
    return [json.loads(line) for line in b"".join(pieces).splitlines()]


def reports(records):
    return [(each["config"], each["fold"], each["step"]) for each in records if each["kind"] == "report"]


def check(object_store, tmp_path, monkeypatch, root):
    """Every report is there once, decisions are those of the policy, and the fold folders tell the same."""
    records = sent(object_store)
    told = reports(records)
    assert len(told) == len(set(told)) == EVERYTHING and records[-1]["kind"] == "end"
    for name in object_store.names("runs/demo/configs/"):
        if name.endswith("metrics.jsonl"):
            steps = [json.loads(line)["step"] for line in object_store.read(name).splitlines()]
            assert steps == [1, 2, 3, 4, 5, 6], name
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "checking"))
    run = find_run("demo", root)
    assert verdicts(policy_of(run.space()), run.lines()) == []
    assert "runs/demo/driver.json" not in object_store.names()


def test_a_run_is_launched_and_asked_for_from_machines_that_share_nothing(
    launched, ask, object_store, root, tmp_path, monkeypatch
):
    code, said = launched("driver")
    assert code == 0 and "Next: python -m analysis report 's3://" in said, said
    check(object_store, tmp_path, monkeypatch, root)
    top = ("space.yaml", "env.json", "plan.json", "configspace.json", "journal/000000001.jsonl")
    assert {f"runs/demo/{name}" for name in top} <= set(object_store.names())
    assert {path.suffix for path in (tmp_path / "driver/scratch").iterdir()} == {".lock"}, "nothing is left on the node"
    document = json.loads(ask("visitor", search, "status", "demo", "--format", "json"))
    assert document["trials"]["done"] == 6 and document["state"].startswith("ended")
    config = json.loads(object_store.read(f"runs/demo/configs/{document['leader']['id']}/config.json"))
    assert config["values"]["quality"] == 0.76
    (row,) = json.loads(ask("visitor", search, "list", "--format", "json"))
    assert row["run"] == "demo" and row["done"] == 6
    assert json.loads(ask("visitor", search, "ledger", "demo", "--format", "json"))["unseen"] == 0
    ask("visitor", search, "curves", "demo", "--out", str(tmp_path / "curves.csv"))
    for source in ("demo", object_store.url("runs/demo")):
        (row,) = json.loads(ask("visitor", search, "replay", source, "--scheduler", "grid", "--format", "json"))
        assert row["regret"] == 0.0
    assert "demo, grid" in ask("visitor", search, "watch", "demo", "--once")
    best = json.loads(ask("visitor", analysis, "best", object_store.url("runs/demo"), "--format", "json"))
    assert best["winner"]["id"] == document["leader"]["id"]
    ask("visitor", analysis, "report", "demo")
    assert b"<html" in object_store.read("runs/demo/analysis/report.html")
    names = {path.name for path in (tmp_path / "visitor").rglob("*")}
    assert not names & {"last.json", "log.txt", "metrics.jsonl"}, "what no command needs is not fetched"
    assert "nobody is driving this run" in ask("visitor", search, "stop", "demo")
    assert "s3://scribbles/runs/dema: no such run. Did you mean 'demo'" in ask("visitor", search, "status", "dema")


def test_a_run_whose_driver_was_killed_goes_on_on_another_machine(
    launched, ask, object_store, root, tmp_path, monkeypatch
):
    code, said = launched("first", "kill", "report", "20")
    assert code == -signal.SIGKILL, said
    assert 0 < len(reports(sent(object_store))) <= 20
    code, said = launched("second")
    assert code == 2 and "driven by another process already, on " in said and "launch again in" in said
    assert json.loads(ask("visitor", search, "status", "demo", "--format", "json"))["state"] == "running"
    state = json.loads(ask("first", search, "status", "demo", "--format", "json"))["state"]
    assert state.startswith("died"), "the driver's own machine knows at once"
    object_store.age("runs/demo/driver.json", 90)
    code, said = launched("second")
    assert code == 0, said
    check(object_store, tmp_path, monkeypatch, root)
    assert json.loads(ask("visitor", search, "status", "demo", "--format", "json"))["state"].startswith("ended")


def test_a_store_that_is_away_for_a_while_stops_nothing_and_a_stop_reaches_the_driver(
    launch, launched, ask, object_store, root, tmp_path, monkeypatch
):
    process = launch("first")
    while process.poll() is None and len(reports(sent(object_store))) < 2:
        time.sleep(0.05)
    object_store.stop()
    back = time.monotonic() + AWAY
    said = next(line for line in process.stderr if "cannot be reached" in line)
    assert "the run goes on, and is sent later" in said
    while time.monotonic() < back:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
    object_store.start()
    ask("visitor", search, "stop", "demo")
    said = process.stderr.read()
    assert process.wait() == 130 and "s3://scribbles/runs/demo: is back" in said, said
    code, said = launched("first")
    assert code == 0, said
    check(object_store, tmp_path, monkeypatch, root)
