"""The Containerfile, as far as it can be checked without building it, and the Kubernetes files that use its image."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from shell_checks import shellcheck

from cluster.deployment.deployment_files import find_file

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def steps():
    """(instruction, arguments) of every line, with continuations joined."""
    lines = re.sub(r"^#.*\n", "", find_file("Containerfile").path.read_text(), flags=re.M)
    joined = re.sub(r"\\\n\s*", "", lines).splitlines()
    return [tuple(line.split(" ", 1)) for line in joined if line]


def arguments(steps, instruction):
    return [rest for name, rest in steps if name == instruction]


def test_it_builds_in_one_stage_and_keeps_only_the_result(steps):
    build, final = arguments(steps, "FROM")
    base = final.split()[0]
    assert build == f"{base} AS build" and "--from=build /opt/venv /opt/venv" in arguments(steps, "COPY")
    assert re.fullmatch(r"docker\.io/library/python:3\.1[123]-slim-[a-z]+", base)  # never :latest


def test_it_installs_this_project_with_the_tested_versions(steps):
    copied = [path for rest in arguments(steps, "COPY") if "--from" not in rest for path in rest.split()[:-1]]
    packages = [name.removesuffix("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
    assert sorted(copied) == sorted([*packages, "pyproject.toml", "constraints.txt", "README.md"])
    assert all((ROOT / path).exists() for path in copied)
    (install,) = [line for line in arguments(steps, "RUN") if "pip install" in line]
    assert install.endswith("--constraint constraints.txt .")


def test_it_runs_unprivileged_and_contains_no_secret(steps):
    after = steps[max(number for number, (name, _) in enumerate(steps) if name == "FROM") :]
    assert arguments(after, "USER") == ["1000:1000"]
    assert [name for name, _ in after].index("USER") > max(n for n, (name, _) in enumerate(after) if name == "RUN")
    assert not arguments(steps, "ARG") and "RAY_AUTH_TOKEN" not in " ".join(arguments(steps, "ENV"))
    assert "RAY_AUTH_MODE=token" in arguments(steps, "ENV")[0]


def test_its_shell_commands_pass_the_check(steps):
    for command in arguments(steps, "RUN"):
        assert not (errors := shellcheck(f"{command}\n")), errors
    assert json.loads(arguments(steps, "CMD")[0])[:3] == ["python", "-m", "search"]


def test_the_documented_commands_build_and_run_this_image(steps):
    """No container tool is needed for this; the programs inside are checked with all documented commands."""
    text = (ROOT / "docs" / "container.md").read_text()
    blocks = re.findall(r"```\n(.*?)```", text, re.S)
    commands = [shlex.split(line) for block in blocks for line in block.replace("\\\n", "").splitlines()]
    (build,) = [words for words in commands if words[:2] == ["podman", "build"]]
    image = f"scribble-search:{PROJECT['project']['version']}"
    assert build[2:] == ["--file", "Containerfile", "--tag", image, "."]
    assert commands.index(["python", "-m", "cluster", "files", "Containerfile", "--out", "."]) < commands.index(build)
    runs = [words for words in commands if words[:2] == ["podman", "run"]]
    assert len(runs) == 2
    (home,) = {folder for folder in arguments(steps, "WORKDIR") if folder != "/src"}
    for words in runs:
        assert words[words.index(image) + 1 :][:2] == ["python", "-m"]
        mounts = [words[n + 1].split(":") for n, word in enumerate(words) if word == "--volume"]
        assert mounts and all(inside.startswith(f"{home}/") for _, inside in mounts)


@pytest.mark.parametrize("name", ["kuberay-cluster.yaml", "kuberay-job.yaml"])
def test_kubernetes_runs_the_image_that_the_commands_push(name):
    pushed = re.search(r"podman push (\S+)", find_file("Containerfile").path.read_text())[1]
    assert pushed.endswith(f":{PROJECT['project']['version']}")
    text = find_file(name).path.read_text()
    spec = list(yaml.safe_load_all(text))[-1]["spec"]
    spec = spec.get("rayClusterSpec", spec)
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert group["template"]["spec"]["containers"][0]["image"] == pushed
        assert group["template"]["spec"]["securityContext"]["runAsUser"] == 1000
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={spec['rayVersion']}" in constraints
