"""Checks of shell commands: shellcheck, and the parser of Ray's command line."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path


def shellcheck(script: str) -> str:
    """Shellcheck's findings in a bash script, including matters of style."""
    program = Path(sys.executable).with_name("shellcheck")
    return subprocess.run(
        [program, "--shell=bash", "--severity=style", "-"], input=script, capture_output=True, text=True, check=False
    ).stdout


def ray_options(command: str | list[str]) -> dict[str, object]:
    """Parse the options of a ``ray`` command as Ray does; invalid ones raise an error of click."""
    from ray.scripts.scripts import cli

    arguments = shlex.split(command) if isinstance(command, str) else command
    assert arguments[0] == "ray"
    context = cli.commands[arguments[1]].make_context(arguments[1], arguments[2:])
    return dict(context.params)
