"""The examples of docs/extending.md work when applied to a copy of the project."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from forked_child import CHILDREN

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"```(diff|python) (\S+)\n(.*?)```", re.S)
# Appended to the commands to make them fast.
SMALL = ["steps=2", "evaluations=1", "batch_size=4", "size=64x64", "patience=0"]
SCRIPTED = """
name: nearby
folds: 2
trainable: scripted
parameters:
  quality: {min: 0.1, max: 0.9}
  speed: {values: [0.5, 1, 2]}
  steps: 4
  evaluations: 2
sampler: {name: nearby, count: 8}
scheduler: grid
resources: {gpu: 0, cpu: 1}
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the project with all additions of the guide."""
    home = tmp_path_factory.mktemp("extended")
    for room in ("spaces", "trainable", "search", "cluster", "analysis"):
        shutil.copytree(ROOT / room, home / room, ignore=shutil.ignore_patterns("__pycache__"))
    for kind, name, text in BLOCK.findall(GUIDE):
        path = home / name
        if kind == "python":
            assert not path.exists()
            path.write_text(text)
            continue
        lines = text.splitlines()
        old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
        new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
        before = path.read_text()
        assert before.count(old) == 1, f"{name} does not contain exactly one copy of:\n{old}"
        path.write_text(before.replace(old, new))
    return home


@pytest.fixture
def run(extended, tmp_path, fork_server):
    """Run a command of the guide, with more options, in the copy."""

    def run_command(command, *more):
        environment = {**os.environ, "PYTHONPATH": str(extended), "NO_COLOR": "1", "COLUMNS": "200", "RAY_ADDRESS": ""}
        environment[CHILDREN] = "1"
        return fork_server.run([*shlex.split(command)[1:], *more], tmp_path, environment)

    return run_command


def commands(section_title):
    section = re.search(rf"## {section_title}\n(.*?)(?=\n## |\Z)", GUIDE, re.S)
    return re.findall(r"```\n(python .*?)\n```", section[1])


@pytest.mark.parametrize("command", [*commands("A loss"), *commands("An encoder"), *commands("A network")])
def test_a_new_loss_and_a_new_network_are_trained(run, small_folder, small_cache, tmp_path, command):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scribbles").symlink_to(small_folder)
    small = [word for value in SMALL for word in ("--set", value)]
    encoder = [] if "encoder" in command or "architecture=small" in command else ["--set", "encoder=test_resnet"]
    done = run(command, *small, *encoder, "--cache", str(small_cache), "--format", "json")
    assert done.returncode == 0, done.stderr
    assert 0 <= json.loads(done.stdout)["best"]["original"]["miou"] <= 1


def test_a_new_policy_is_replayed_with_the_others(run):
    (command,) = commands("A policy")
    done = run(command.replace("--count 20", "--count 2"), "--format", "json")
    assert done.returncode == 0, done.stderr
    first, _ = json.loads(done.stdout)
    assert first["scheduler"] == "first-fold"
    assert first["cost"] == pytest.approx((72 + 5 * 4) / 360, rel=0.05), "the durations of folds differ slightly"


def test_a_new_policy_and_sampler_are_valid_in_spaces(run):
    done = run("python -m spaces check beyond --set scheduler.name=first-fold")
    assert done.returncode == 2 and "key of scheduler first-fold" in done.stderr
    done = run("python -m spaces check beyond --set sampler.name=nearby --set sampler.seed=1")
    assert done.returncode == 0, done.stderr
    assert "nearby" in done.stdout


def test_a_new_sampler_changes_one_parameter_of_the_best_config(run, tmp_path):
    (command,) = commands("A sampler")
    assert shlex.split(command)[:5] == ["python", "-m", "search", "launch", "beyond"]
    (tmp_path / "nearby.yaml").write_text(SCRIPTED)
    done = run("python -m search launch nearby.yaml --plain --no-dashboard")
    assert done.returncode == 0, done.stderr
    journal = (tmp_path / "runs/nearby/journal.jsonl").read_text().splitlines()
    proposed = [record["parameters"] for record in map(json.loads, journal) if record["kind"] == "config"]
    assert len(proposed) == 8
    qualities = [parameters["quality"] for parameters in proposed]
    assert len(set(qualities)) < 8, "samples from a range repeat only if one was kept"
