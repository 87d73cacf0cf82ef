"""Launches of a run in an object store: from one machine, from another, and while the store is unreachable."""

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

# The test server leaves closing its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
FAILING_DRIVER = str(Path(__file__).parents[2] / "support" / "failing_driver.py")
SPACE = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.74, 0.76]}
  steps: 6
  evaluations: 6
  step_seconds: 0.25
scheduler: grid
resources: {gpu: 0, cpu: 1}
"""
REPORTS = 3 * 2 * 6
OUTAGE = 12.0  # seconds; the search itself ends before


@pytest.fixture
def root(object_store):
    return object_store.url("runs")


@pytest.fixture
def launch(start, cluster, tmp_path, root):
    """Launch the demo on a machine with its own disk; ``fate`` says how and when the driver dies."""
    (tmp_path / "demo.yaml").write_text(SPACE)

    def begin(machine, *fate):
        own = {"SCRIBBLE_SEARCH_CACHE": str(tmp_path / machine), **CREDENTIALS}
        workers = {
            "RAY_ADDRESS": cluster,
            "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": {"env_vars": own}}),
        }
        program = [FAILING_DRIVER, *fate] if fate else ["-m", "search"]
        return start(*program, "launch", "demo.yaml", "--runs", root, **own, **workers)

    return begin


@pytest.fixture
def launched(launch):
    """Launch the demo, wait for its end, and return the exit code and stderr."""

    def launch_and_wait(machine, *fate):
        process = launch(machine, *fate)
        _, err = process.communicate(timeout=150)
        return process.returncode, err

    return launch_and_wait


@pytest.fixture
def command(tmp_path, root, monkeypatch):
    """Run another command on a machine and return its output or its error message."""

    def run_command(machine, app, *arguments):
        monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / machine))
        done = CliRunner().invoke(app, [*arguments, "--runs", root])
        if isinstance(done.exception, UserError):
            return f"error: {done.exception}"
        assert done.exit_code == 0, done.output
        return done.stdout

    return run_command


def uploaded(object_store):
    """The records of the journal in the store."""
    segments = [object_store.read(name) for name in object_store.names("runs/demo/journal/")]
    return [json.loads(line) for line in b"".join(segments).splitlines()]


def reports(records):
    return [(each["config"], each["fold"], each["step"]) for each in records if each["kind"] == "report"]


def check(object_store, tmp_path, monkeypatch, root):
    """Every report is in the store once, replay gives the same verdicts, and the fold folders agree."""
    records = uploaded(object_store)
    found = reports(records)
    assert len(found) == len(set(found)) == REPORTS and records[-1]["kind"] == "end"
    for name in object_store.names("runs/demo/configs/"):
        if name.endswith("metrics.jsonl"):
            steps = [json.loads(line)["step"] for line in object_store.read(name).splitlines()]
            assert steps == [1, 2, 3, 4, 5, 6], name
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "checking"))
    run = find_run("demo", root)
    assert verdicts(policy_of(run.space()), run.lines()) == []
    assert "runs/demo/driver.json" not in object_store.names()


def test_a_run_is_launched_and_inspected_from_machines_that_share_nothing(
    launched, command, object_store, root, tmp_path, monkeypatch
):
    code, stderr = launched("driver")
    assert code == 0 and "Next: python -m analysis report 's3://" in stderr, stderr
    check(object_store, tmp_path, monkeypatch, root)
    top = ("space.yaml", "env.json", "plan.json", "configspace.json", "journal/000000001.jsonl")
    assert {f"runs/demo/{name}" for name in top} <= set(object_store.names())
    assert {path.suffix for path in (tmp_path / "driver/scratch").iterdir()} == {".lock"}, "no scratch files are left"
    document = json.loads(command("visitor", search, "status", "demo", "--format", "json"))
    assert document["trials"]["done"] == 6 and document["state"].startswith("ended")
    config = json.loads(object_store.read(f"runs/demo/configs/{document['leader']['id']}/config.json"))
    assert config["values"]["quality"] == 0.76
    (row,) = json.loads(command("visitor", search, "list", "--format", "json"))
    assert row["run"] == "demo" and row["done"] == 6
    assert json.loads(command("visitor", search, "ledger", "demo", "--format", "json"))["unseen"] == 0
    command("visitor", search, "curves", "demo", "--out", str(tmp_path / "curves.csv"))
    for source in ("demo", object_store.url("runs/demo")):
        (row,) = json.loads(command("visitor", search, "replay", source, "--scheduler", "grid", "--format", "json"))
        assert row["regret"] == 0.0
    assert "demo, grid" in command("visitor", search, "watch", "demo", "--once")
    best = json.loads(command("visitor", analysis, "best", object_store.url("runs/demo"), "--format", "json"))
    assert best["winner"]["id"] == document["leader"]["id"]
    command("visitor", analysis, "report", "demo")
    assert b"<html" in object_store.read("runs/demo/analysis/report.html")
    names = {path.name for path in (tmp_path / "visitor").rglob("*")}
    assert not names & {"last.json", "log.txt", "metrics.jsonl"}, "files that no command needs are not downloaded"
    assert "this run is not running" in command("visitor", search, "stop", "demo")
    assert "s3://scribbles/runs/dema: no such run. Did you mean 'demo'" in command("visitor", search, "status", "dema")


def test_a_run_whose_driver_was_killed_resumes_on_another_machine(
    launched, command, object_store, root, tmp_path, monkeypatch
):
    code, stderr = launched("first", "kill", "uploaded", "2")
    assert code == -signal.SIGKILL, stderr
    assert 0 < len(reports(uploaded(object_store))) < REPORTS
    code, stderr = launched("second")
    assert code == 2 and "already driven by another process, on " in stderr and "launch again in" in stderr
    assert json.loads(command("visitor", search, "status", "demo", "--format", "json"))["state"] == "running"
    state = json.loads(command("first", search, "status", "demo", "--format", "json"))["state"]
    assert state.startswith("died"), "on the driver's own machine the lease counts as free immediately"
    object_store.age("runs/demo/driver.json", 90)
    code, stderr = launched("second")
    assert code == 0, stderr
    check(object_store, tmp_path, monkeypatch, root)
    assert json.loads(command("visitor", search, "status", "demo", "--format", "json"))["state"].startswith("ended")


def test_a_run_survives_an_outage_of_the_store_and_can_be_stopped_through_it(
    launch, launched, command, object_store, root, tmp_path, monkeypatch
):
    process = launch("first")
    while process.poll() is None and len(reports(uploaded(object_store))) < 2:
        time.sleep(0.05)
    object_store.stop()
    restored = time.monotonic() + OUTAGE
    line = next(line for line in process.stderr if "cannot be reached" in line)
    assert "the run continues and uploads later" in line
    while time.monotonic() < restored:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
    object_store.start()
    command("visitor", search, "stop", "demo")
    stderr = process.stderr.read()
    assert process.wait() == 130 and "s3://scribbles/runs/demo: is reachable again" in stderr, stderr
    code, stderr = launched("first")
    assert code == 0, stderr
    check(object_store, tmp_path, monkeypatch, root)
