"""How every program of the project ends: with the right exit code, and without a traceback for a user's mistake."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from trainable.errors import UserError
from trainable.printing import say

WRONG, INTERRUPTED = 2, 130


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
