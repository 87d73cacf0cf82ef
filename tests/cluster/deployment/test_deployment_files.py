"""``python -m cluster files`` as run by a user, and the rules for all deployment files."""

import csv
import fnmatch
import io
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from shell_checks import ray_options

from cluster.__main__ import app
from cluster.deployment.deployment_files import FOLDER, deployment_files
from trainable import exit_codes

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs/cluster.md").read_text()
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
SHIPPED = {
    "Containerfile",
    "aws-p4d.yaml",
    "gcp-a2.yaml",
    "kuberay-cluster.yaml",
    "kuberay-job.yaml",
    "on-premises.yaml",
    "slurm-classic.sh",
    "slurm-symmetric.sh",
}


@pytest.fixture
def run(monkeypatch, capsys):
    def program(*words):
        monkeypatch.setattr(sys, "argv", ["cluster", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            exit_codes.run(app)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return end.value.code, captured.out, captured.err

    return program


def test_files_lists_each_file_with_its_purpose_and_path(run):
    code, out, _ = run("files", "--format", "json")
    rows = json.loads(out)
    assert code == 0 and {row["file"] for row in rows} == SHIPPED == set(NAMES)
    for row in rows:
        assert Path(row["path"]).name == row["file"] and Path(row["path"]).is_file()
        assert len(row["for"]) > 30 and row["for"] in Path(row["path"]).read_text()
    assert list(csv.DictReader(io.StringIO(run("files", "--format", "csv")[1]))) == rows
    assert all(name in run("files")[1] for name in SHIPPED)


def test_a_copy_equals_the_file_and_an_edited_copy_is_never_overwritten(run, tmp_path):
    folder = tmp_path / "new folder"
    code, out, err = run("files", "aws-p4d.yaml", "--out", folder, "--format", "json")
    copy = folder / "aws-p4d.yaml"
    assert (code, json.loads(out)[0]["path"]) == (0, str(copy)) and str(copy) in err.splitlines()[-1]
    assert copy.read_bytes() == (FOLDER / "aws-p4d.yaml").read_bytes()
    assert run("files", "aws-p4d.yaml", "--out", folder)[0] == 0
    copy.write_text("mine")
    code, _, err = run("files", "aws-p4d.yaml", "--out", folder)
    assert code == 2 and "already exists and differs" in err and copy.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["aws-p4"], "no such deployment file. Did you mean 'aws-p4d.yaml'"),
        (["../__init__.py"], "no such deployment file"),
        (["--out", "here"], "--out needs the name of a file"),
    ],
)
def test_wrong_options_are_reported_in_one_line(run, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("files", *words)
    assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def shown_commands(file):
    """The indented lines of the comment at the top."""
    top = re.match(r"(?:#.*\n)+", file.path.read_text())[0]
    return re.findall(r"^#   (\S.*)$", top, re.M)


@pytest.mark.parametrize("file", deployment_files(), ids=lambda file: file.name)
def test_each_file_begins_with_its_three_commands(file):
    shown = shown_commands(file)
    assert len(shown) == 3, shown
    assert file.name in shown[0]
    for command in shown:
        if command.startswith("ray "):
            ray_options(command)
    starts = {
        "ray up": "ray down",
        "kubectl apply": "kubectl delete",
        "sbatch": "scancel",
        "podman build": "podman push",
    }
    begins = next(word for word in starts if shown[0].startswith(word))
    assert shown[2].startswith(starts[begins])
    assert not shown[2].startswith("kubectl delete --filename")  # it would also delete the volume with all runs


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_mentions_each_file(name):
    assert f"`{name}`" in DOCS


def test_ray_accepts_the_ray_commands_of_the_documentation():
    found = re.findall(r"\b(ray (?:up|exec|down|dashboard|monitor|attach|get-auth-token) [^`|\n]+)", DOCS)
    assert len(found) >= 4
    for command in found:
        ray_options(command.split(" > ")[0].strip(" )"))


def test_the_wheel_contains_all_files():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    names = [path.name for path in FOLDER.rglob("*") if path.is_file()]
    assert [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


@pytest.mark.parametrize("file", deployment_files(), ids=lambda file: file.name)
def test_no_file_contains_a_secret(file):
    text = file.path.read_text()
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|secret_access_key|\b[0-9a-f]{64}\b", text, re.I)
    assert not re.search(r"RAY_AUTH_TOKEN=", text)  # a token on a command line is visible to all users
