"""How every program of the project ends: with the right exit code, and without a traceback for a user's mistake."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from trainable.errors import UserError
from trainable.printing import say

WRONG, INTERRUPTED = 2, 130


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"scribble-search {version('scribble-search')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
]


def run(app: typer.Typer) -> NoReturn:
    """Run a program's command line; typer itself answers wrong options with 2 and Ctrl-C with 130."""
    try:
        app()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(WRONG)
    except OSError as error:
        if error.filename is None:
            raise
        say(f"error: {error.filename}: {error.strerror}")
        sys.exit(WRONG)
    sys.exit(0)
