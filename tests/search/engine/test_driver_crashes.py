"""A driver that is killed after any record of the journal resumes, and the run ends as if nothing had happened."""

import json
import signal
from pathlib import Path

import pytest
from run_outcome import check_end

from search.runs.run_folder import Run

FAILING_DRIVER = str(Path(__file__).parents[2] / "support" / "failing_driver.py")
SPACE = """
name: demo
folds: 2
trainable: scripted
parameters:
  quality: {values: [0.70, 0.72, 0.74, 0.76]}
  steps: 12
  evaluations: 12
  step_seconds: 0.02
  fault: {values: [crash], when: {quality: 0.76}}
  fault_step: 11
scheduler: foldrace
resources: {gpu: 0, cpu: 2}
"""


@pytest.fixture
def launch(program, tmp_path):
    """Launch the demo and wait for its end; ``fate`` says how and after which record the driver dies."""
    (tmp_path / "demo.yaml").write_text(SPACE)

    def launch_and_wait(*fate):
        return program(*([FAILING_DRIVER, *map(str, fate)] if fate else ["-m", "search"]), "launch", "demo.yaml")

    return launch_and_wait


@pytest.fixture
def demo(tmp_path):
    return Run(tmp_path / "runs/demo")


def kinds(run):
    return [line.kind for line in run.lines()]


def check(run):
    """The run ended like an undisturbed one, and no step was trained twice."""
    check_end(run, 0.76)
    for path in run.folder.glob("configs/*/fold_*/metrics.jsonl"):
        steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
        assert steps == sorted(set(steps)), f"{path}: a step was trained twice"


def test_a_driver_killed_after_each_kind_of_record_resumes(launch, demo):
    for kind, count in (("begin", 1), ("config", 2), ("job", 2), ("report", 5), ("lost", 1), ("fault", 1), ("end", 1)):
        assert launch("kill", kind, count).returncode == -signal.SIGKILL, kind
        assert demo.lines()[-1].kind == kind
    done = launch()
    assert done.returncode == 0, done.stderr
    check(demo)


def test_a_driver_killed_after_stopping_on_a_known_report_resumes(launch, demo):
    killed = launch("kill", "stop", 1)
    assert killed.returncode == -signal.SIGKILL
    assert [line.kind for line in demo.lines()][-2:] == ["fault", "stop"]
    assert launch().returncode == 0
    check(demo)


def test_a_second_ctrl_c_and_a_full_disk_keep_every_report(launch, demo):
    done = launch("interrupt twice", "report", 3)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].strip() == "python -m search launch demo.yaml"
    assert kinds(demo).count("report") == 3
    done = launch("full", "report", 3)
    assert done.returncode == 2, done.stderr
    assert "journal.jsonl: cannot be written (File too large)" in done.stderr and "Traceback" not in done.stderr
    assert "free some space and launch again" in done.stderr
    assert kinds(demo).count("report") == 6
    assert launch().returncode == 0
    check(demo)
