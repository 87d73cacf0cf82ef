"""Every command in the README, the documentation and the deployment files is valid."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from spaces.load import load_space

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "cluster/files").iterdir()]
SPACES = {path.stem: path for path in (ROOT / "spaces").glob("*.yaml")}
CONTINUED = re.compile(r" \\\n[# ]*")
COMMAND = re.compile(r"python -m (search|cluster|analysis|spaces|trainable) (.*)")
ENDS = re.compile(r"`|\s#|\s\||&&|;|\s{3,}|\)|(?<!})'$|,$|\s*\\\\$")  # the end of a command
# Placeholders that a program would reject, and valid values for them.
PLACEHOLDERS = {"key.path=value": "batch_size=8", '"$@"': "full_grid", "\\|": "/"}


def commands(path):
    for program, words in COMMAND.findall(CONTINUED.sub(" ", path.read_text())):
        for placeholder, value in PLACEHOLDERS.items():
            words = words.replace(placeholder, value)
        yield program, ENDS.split(words)[0].strip()


def documented_commands():
    files = [path for path in (*FILES, *SPACES.values()) if path.is_file()]
    found = {(path.name, *each) for path in files for each in commands(path)}
    return sorted(each for each in found if each[2])


@pytest.mark.parametrize(("file", "program", "words"), documented_commands())
def test_a_documented_command_exists_with_its_options(file, program, words):
    group = get_command(importlib.import_module(f"{program}.__main__").app)
    name, *rest = shlex.split(words)
    command = group.commands[name]
    if not rest and any(parameter.required for parameter in command.params):
        return  # mentioned in a sentence
    try:
        given = command.make_context(name, rest).params
    except Exception as problem:  # noqa: BLE001  typer has its own copy of click
        pytest.fail(f"{file}: python -m {program} {words}: {problem}")
    if given.get("space") in SPACES and file != "extending.md":  # which describes a sampler of one's own
        load_space(SPACES[given["space"]], given.get("assignments") or [])


def test_the_documented_commands_are_found():
    files = {file for file, _, _ in documented_commands()}
    assert {"README.md", "cluster.md", "storage.md", "slurm-classic.sh", "kuberay-job.yaml"} <= files
    assert len(documented_commands()) >= 40
