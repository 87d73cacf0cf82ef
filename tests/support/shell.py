"""What tests of shell text share: shellcheck, and the parser of Ray's own command line."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path


def complaints(script: str) -> str:
    """What shellcheck has to say about a bash script, down to matters of style."""
    program = Path(sys.executable).with_name("shellcheck")
    return subprocess.run(
        [program, "--shell=bash", "--severity=style", "-"], input=script, capture_output=True, text=True, check=False
    ).stdout


def ray_options(command: str | list[str]) -> dict[str, object]:
    """The options of a command that begins with ``ray``, as Ray reads them; wrong ones are an error of click."""
    from ray.scripts.scripts import cli

    words = shlex.split(command) if isinstance(command, str) else command
    assert words[0] == "ray"
    context = cli.commands[words[1]].make_context(words[1], words[2:])
    return dict(context.params)
