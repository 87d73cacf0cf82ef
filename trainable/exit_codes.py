"""The exit codes of all programs, and errors of the user without a traceback."""

import gc
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from trainable.errors import UserError
from trainable.printing import say

WRONG, INTERRUPTED = 2, 130
# Importing torch creates a million objects, which the default of 700 would make Python traverse again and again.
GARBAGE_THRESHOLD = 50_000


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"scribble-search {version('scribble-search')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
]


def _install_completion(wanted: bool) -> None:
    """The programs are completed as parts of one command, since a shell completes no module of Python."""
    if not wanted:
        return
    if (script := shutil.which("scribble-search")) is None:
        say("error: completion works only for the scribble-search command, which is not on the PATH: run pip install .")
        raise typer.Exit(WRONG)
    raise typer.Exit(subprocess.run([script, "--install-completion"], check=False).returncode)


Completion = Annotated[
    bool,
    typer.Option(
        "--install-completion",
        help="Complete scribble-search and all of its programs in this shell.",
        callback=_install_completion,
        is_eager=True,
    ),
]


def run(program: Callable[[], int | None]) -> NoReturn:
    """Run a program and exit with its code; typer itself exits with 2 for wrong options and 130 for Ctrl-C."""
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)
    try:
        code = program()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(WRONG)
    except OSError as error:
        if error.filename is None:
            raise
        say(f"error: {error.filename}: {error.strerror}")
        sys.exit(WRONG)
    sys.exit(code)
