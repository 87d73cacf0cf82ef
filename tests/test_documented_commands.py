"""Every command that the README, the documents and the deployment files tell is one that the programs take."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[1]
TOLD_IN = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *(ROOT / "cluster/files").iterdir()]
COMMAND = re.compile(r"python -m (search|cluster|analysis|spaces|trainable) (.*)")
ENDS = re.compile(r"`|\s#|\s\||&&|;|\s{3,}|\)|'$|,$|\s*\\\\$")  # where the words of a command end and others begin
# What stands for something of the reader's own, where a program asks for more than a word.
STANDS_FOR = {"key.path=value": "batch_size=8", '"$@"': "full_grid", "\\|": "/"}


def told(path):
    for program, words in COMMAND.findall(path.read_text()):
        for shown, used in STANDS_FOR.items():
            words = words.replace(shown, used)
        yield program, ENDS.split(words)[0].strip()


def pairs():
    found = {(path.name, *each) for path in TOLD_IN if path.is_file() for each in told(path)}
    return sorted(each for each in found if each[2])


@pytest.mark.parametrize(("file", "program", "words"), pairs())
def test_it_is_a_command_with_options_that_there_are(file, program, words):
    group = get_command(importlib.import_module(f"{program}.__main__").app)
    name, *rest = shlex.split(words)
    command = group.commands[name]
    if not rest and any(parameter.required for parameter in command.params):
        return  # named in a sentence, not shown
    try:
        command.make_context(name, rest)
    except Exception as problem:  # noqa: BLE001  typer brings a click of its own
        pytest.fail(f"{file}: python -m {program} {words}: {problem}")


def test_they_are_found_at_all():
    told_by = {file for file, _, _ in pairs()}
    assert {"README.md", "cluster.md", "storage.md", "slurm-classic.sh", "kuberay-job.yaml"} <= told_by
    assert len(pairs()) >= 40
